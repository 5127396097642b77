package fakecluster

import (
	"net"
	"net/http"
	"strconv"
	"time"
)

// kubelets answers /metrics/resource, each node on its own port.
func (c *Cluster) kubelets(nodes map[int]int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		if !ok || r.URL.Path != "/metrics/resource" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(c.usage(nodes[local.Port], time.Now()))
	})
}

// usage is the answer of one kubelet, with the families that a kubelet has.
func (c *Cluster) usage(node int, now time.Time) []byte {
	mine := c.byNode[node]
	b := make([]byte, 0, 8<<10+len(mine)*900)
	up := now.Sub(c.began).Seconds()
	stamp := strconv.AppendInt([]byte{' '}, now.UnixMilli(), 10)
	stamp = append(stamp, '\n')
	family := func(name, kind string, value func(i int) float64) {
		b = append(append(append(append(b, "# TYPE "...), name...), ' '), kind...)
		b = append(b, '\n')
		for _, i := range mine {
			b = append(append(b, name...), c.pods[i].labels...)
			b = strconv.AppendFloat(b, value(i), 'g', -1, 64)
			b = append(b, stamp...)
		}
	}
	cpu := func(i int) float64 { return float64(MilliCores(i)) / 1000 * up }
	memory := func(i int) float64 { return float64(i%500+1) * (1 << 20) }
	family("container_cpu_usage_seconds_total", "counter", cpu)
	family("container_memory_working_set_bytes", "gauge", memory)
	start := float64(c.began.UnixMilli()) / 1000
	family("container_start_time_seconds", "gauge", func(int) float64 { return start })
	family("container_swap_usage_bytes", "gauge", func(int) float64 { return 0 })
	var cores float64
	for _, i := range mine {
		cores += cpu(i)
	}
	b = append(b, "# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total "...)
	b = append(strconv.AppendFloat(b, cores, 'g', -1, 64), stamp...)
	b = append(b, "# TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes 3.4359738368e+10"...)
	b = append(b, stamp...)
	family("pod_cpu_usage_seconds_total", "counter", cpu)
	family("pod_memory_working_set_bytes", "gauge", memory)
	return append(b, "# TYPE resource_scrape_error gauge\nresource_scrape_error 0\n"...)
}

// target answers a scrape with a counter of each pod.
func (c *Cluster) target(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/metrics" {
		http.NotFound(w, r)
		return
	}
	const name = "http_requests_total"
	up := time.Since(c.began).Seconds()
	b := []byte("# TYPE " + name + " counter\n")
	for i := range c.pods {
		b = append(append(b, name...), c.pods[i].labels...)
		b = strconv.AppendFloat(b, float64(int64(float64(Requests(i))*up)), 'g', -1, 64)
		b = append(b, '\n')
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(b)
}
