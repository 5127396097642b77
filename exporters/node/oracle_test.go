package node

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

// oracle is where reference data lies beside the repository.
const oracle = "../../../shared/oracle/node"

// The same series with the same values as node_exporter 1.12 on its reference
// host, and none besides.
func TestLikeNodeExporter(t *testing.T) {
	t.Parallel()
	expected, err := os.ReadFile(filepath.Join(oracle, "expected.prom"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("no reference data at %s", oracle)
	}
	require.NoError(t, err)
	root := t.TempDir()
	expected = bytes.ReplaceAll(expected, []byte(`"collector/fixtures/`), []byte(`"`+root+"/"))
	unpack(t, filepath.Join(oracle, "fixtures.tar.gz"), root)

	o, err := parseFlags(
		"--path.procfs="+root+"/proc", "--path.sysfs="+root+"/sys", "--path.rootfs="+root, "--path.udev.data="+root+"/udev/data",
		"--no-collector.filesystem", "--no-collector.uname", "--no-collector.selinux", "--no-collector.timex", "--collector.ksmd",
		"--collector.buddyinfo", "--collector.cgroups", "--collector.cpu_vulnerabilities", "--collector.interrupts", "--collector.meminfo_numa",
		"--collector.processes", "--collector.slabinfo", "--collector.softirqs", "--collector.sysctl", "--collector.zoneinfo",
		"--collector.sysctl.include-info=kernel.seccomp.actions_avail", "--collector.sysctl.include=fs.file-nr",
		"--collector.sysctl.include=fs.file-nr:total,current,max", "--collector.sysctl.include=kernel.threads-max",
		"--no-collector.arp.netlink", "--collector.arp.device-exclude=nope", "--collector.lnstat", "--collector.xfrm",
		"--collector.netclass.ignore-invalid-speed", "--collector.netclass.ignored-devices=(dmz|int)",
		"--collector.cpu.info", "--collector.cpu.info.bugs-include=^(cpu_meltdown|spectre_.*|mds)$",
		"--collector.cpu.info.flags-include=^(aes|avx.?|constant_tsc)$",
		"--collector.bcache.priorityStats",
		"--collector.hwmon.chip-include=(applesmc|asus_nb_wmi|coretemp|hwmon4|ieee80211|nct6779)",
		"--collector.netdev.device-include=lo", "--collector.stat.softirq",
		"--collector.textfile.directory="+root+"/textfile/two_metric_files/",
		"--collector.drbd", "--collector.mountstats", "--collector.pcidevice",
		"--collector.qdisc", "--collector.qdisc.device-include=(wlan0|eth0)", "--collector.qdisc.fixtures="+root+"/qdisc/",
		"--collector.wifi", "--collector.wifi.fixtures="+root+"/wifi")
	require.NoError(t, err)
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	e, err := New(o)
	require.NoError(t, err)
	b := metric.NewBatch()
	require.NoError(t, e.Collect(t.Context(), b))

	want, got := series(t, expected), series(t, b.AppendText(nil))
	compared := 0
	for key, value := range want {
		family, _, _ := strings.Cut(key, "{")
		if leftOut(family) {
			continue
		}
		have, ok := got[key]
		require.True(t, ok, "missing: %s %v", key, value)
		require.Equal(t, value, have, key)
		delete(got, key)
		compared++
	}
	for key := range got {
		family, _, _ := strings.Cut(key, "{")
		require.True(t, leftOut(family) || aboutOurselves(family), "too many: %s", key)
	}
	t.Logf("%d series are like node_exporter's", compared)
	require.Greater(t, compared, 3000)
}

// leftOut are the families that are not compared, as the reference data says:
// those of the process, and what netlink or the clock answers for the machine that
// asks.
func leftOut(family string) bool {
	switch family {
	case "node_exporter_build_info", "node_scrape_collector_duration_seconds", "node_textfile_mtime_seconds",
		"node_time_seconds", "node_time_zone_offset_seconds",
		"node_network_receive_bytes_total", "node_network_receive_packets_total",
		"node_network_transmit_bytes_total", "node_network_transmit_packets_total":
		return true
	}
	return slices.ContainsFunc([]string{"go_", "process_", "promhttp_"}, func(prefix string) bool { return strings.HasPrefix(family, prefix) })
}

// aboutOurselves are the families of collectors that node_exporter does not have.
func aboutOurselves(family string) bool {
	switch family {
	case "node_scrape_collector_no_data", "node_scrape_collector_timeouts_total", "node_scrape_collector_panics_total",
		"node_scrape_collector_dropped_samples_total", "strata_node_collector_cpu_seconds_total":
		return true
	}
	return false
}

// value of a series with the type of its family.
type value struct {
	kind string
	bits uint64
}

// series gives the values of an exposition by name and sorted labels.
func series(t *testing.T, text []byte) map[string]value {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	require.NoError(t, err)
	all := map[string]value{}
	for name, family := range families {
		for _, m := range family.Metric {
			slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+`="`+l.GetValue()+`"`)
			}
			require.False(t, family.GetType() > dto.MetricType_UNTYPED, name) // whose value would not be compared
			v := m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
			key := name + "{" + strings.Join(labels, ",") + "}"
			require.NotContains(t, all, key)
			all[key] = value{family.GetType().String(), math.Float64bits(v)}
		}
	}
	return all
}

// unpack writes the directories, files and links of an archive below root.
func unpack(t *testing.T, archive, root string) {
	t.Helper()
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	zip, err := gzip.NewReader(f)
	require.NoError(t, err)
	dir, err := os.OpenRoot(root)
	require.NoError(t, err)
	defer func() { _ = dir.Close() }()
	for in := tar.NewReader(zip); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		name := strings.TrimSuffix(h.Name, "/")
		switch h.Typeflag {
		case tar.TypeDir:
			require.NoError(t, dir.MkdirAll(name, 0o755))
		case tar.TypeSymlink:
			require.NoError(t, dir.Symlink(h.Linkname, name))
		default:
			data, err := io.ReadAll(in)
			require.NoError(t, err)
			require.NoError(t, dir.WriteFile(name, data, 0o644))
		}
	}
}
