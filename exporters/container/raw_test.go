package container

import (
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Which cgroups /metrics shows is cAdvisor's choice; the kubelet's endpoints have
// none.
func TestRawCgroups(t *testing.T) {
	t.Parallel()
	id := regexp.MustCompile(`container_last_seen\{(?:container="[^"]*",)?id="([^"]*)"`)
	shown := func(body string) (ids []string) {
		for _, m := range id.FindAllStringSubmatch(body, -1) {
			ids = append(ids, m[1])
		}
		slices.Sort(ids)
		return ids
	}
	h, runtime := kubernetes(t, false)
	qos := "/kubepods/burstable"
	pod := qos + "/pod" + podUID
	containers := []string{pod + "/" + idA, pod + "/" + idB}
	system := []string{"/system.slice/kubelet.service", "/system.slice/ssh.service"}
	var kubelet []string
	for _, one := range []struct {
		raw  RawCgroups
		want []string
	}{
		{RawCgroups{}, slices.Concat([]string{"/", "/kubepods", qos, pod}, containers, system)},
		{RawCgroups{Hide: true}, slices.Concat([]string{"/"}, containers)},
		{RawCgroups{Hide: true, HideRoot: true}, containers},
		{RawCgroups{Hide: true, Prefixes: []string{"/system.slice"}}, slices.Concat([]string{"/"}, containers, system)},
		{RawCgroups{Prefixes: []string{pod, "/system.slice/s"}}, slices.Concat([]string{"/", pod}, containers, system[1:])},
	} {
		e := h.exporter(func(o *Options) { runtime.endpoint(o); o.Raw = one.raw })
		require.Equal(t, one.want, shown(text(t, e, e.Collect)), one.raw)
		all := shown(text(t, e, e.CollectCAdvisor))
		require.Contains(t, all, "/")
		require.Contains(t, all, pod)
		if kubelet == nil {
			kubelet = all
		}
		require.Equal(t, kubelet, all, one.raw)
	}
}
