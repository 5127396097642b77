package metric

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
)

// load is 10,000 samples in 100 families, such as a large host has, of which
// some families have other values at each scrape.
type load struct {
	families []*Family
	descs    []*prometheus.Desc
	devices  []string
	changing int // families
	scrape   float64
}

func newLoad(changing int) *load {
	l := &load{changing: changing}
	for i := range 100 {
		name := fmt.Sprintf("node_made_%02d_bytes_total", i)
		l.families = append(l.families, NewCounter(name, "Bytes that were made.", "device", "mode"))
		l.descs = append(l.descs, prometheus.NewDesc(name, "Bytes that were made.", []string{"device", "mode"}, nil))
		l.devices = append(l.devices, fmt.Sprintf("nvme%dn1", i))
	}
	return l
}

func (l *load) value(family, sample int) float64 {
	v := 1e9/7*float64(sample+1) + float64(family)
	if family%(len(l.families)/l.changing) == 0 {
		v += l.scrape
	}
	return v
}

func (l *load) fill(_ context.Context, b *Batch) error {
	l.scrape++
	for i, f := range l.families {
		for n, device := range l.devices {
			b.Add(f, l.value(i, n), device, "read")
		}
	}
	return nil
}

// Describe implements prometheus.Collector.
func (l *load) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector, as the collectors of exporters do.
func (l *load) Collect(ch chan<- prometheus.Metric) {
	l.scrape++
	for i, d := range l.descs {
		for n, device := range l.devices {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, l.value(i, n), device, "read")
		}
	}
}

// BenchmarkAnswer is a whole scrape of 10,000 samples, from the collector to
// the body, here and with client_golang.
func BenchmarkAnswer(b *testing.B) {
	formats := []struct{ name, accept string }{{"text", ""}, {"openmetrics", acceptOpen}, {"protobuf", acceptProto}}
	for _, changing := range []int{100, 10} {
		for _, format := range formats {
			for _, encoding := range []string{identity, gzipped} {
				name := fmt.Sprintf("changing=%d%%/%s/%s", changing, format.name, encoding)
				r := request(format.accept, encoding)
				b.Run(name+"/strata", func(b *testing.B) {
					benchmarkAnswer(b, Handler(HandlerOptions{Collect: newLoad(changing).fill}), r)
				})
				b.Run(name+"/promhttp", func(b *testing.B) {
					registry := prometheus.NewRegistry()
					require.NoError(b, registry.Register(newLoad(changing)))
					benchmarkAnswer(b, promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}), r)
				})
			}
		}
	}
}

func benchmarkAnswer(b *testing.B, h http.Handler, r *http.Request) {
	w := &nowhere{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
	b.ReportMetric(float64(w.bytes)/float64(b.N), "body-B")
}
