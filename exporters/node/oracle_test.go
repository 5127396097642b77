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
// host, for every family of our collectors, and none besides.
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
	ours := map[string]bool{}
	for _, f := range e.Families() {
		ours[f.Name()] = true
	}
	compared := 0
	for key, value := range want {
		family, labels, _ := strings.Cut(key, "{")
		if !ours[family] && !namedByKernel(family) {
			continue
		}
		if strings.HasPrefix(family, "node_scrape_collector_") {
			name := strings.TrimSuffix(strings.TrimPrefix(labels, `collector="`), `"}`)
			if !slices.Contains(e.Collectors(), name) || strings.Contains(family, "duration") {
				continue
			}
		}
		have, ok := got[key]
		require.True(t, ok, "missing: %s %v", key, value)
		require.Equal(t, value, have, key)
		delete(got, key)
		compared++
	}
	for key := range got {
		family, _, _ := strings.Cut(key, "{")
		require.True(t, strings.HasPrefix(key, "node_scrape_collector_") || strings.HasPrefix(key, "strata_node_collector_") || leftOut(family), "too many: %s", key)
	}
	t.Logf("%d series are like node_exporter's", compared)
	require.Greater(t, compared, 400)
}

// namedByKernel are the families of our collectors that are not declared
// beforehand.
func namedByKernel(family string) bool {
	return slices.ContainsFunc([]string{
		"node_bcachefs_",
		"node_hwmon_",
		"node_lnstat_",
		"node_memory_",
		"node_netstat_",
		"node_rapl_",
		"node_sockstat_",
		"node_sysctl_",
		"node_vmstat_",
		"node_zfs_",
		"testmetric",
	}, func(prefix string) bool { return strings.HasPrefix(family, prefix) })
}

// leftOut are the families that the reference data does not hold, since
// netlink or the clock answers for the machine that asks.
func leftOut(family string) bool {
	return family == "node_time_seconds" || family == "node_time_zone_offset_seconds" || family == "node_textfile_mtime_seconds" || strings.HasPrefix(family, "node_network_") &&
		(strings.HasSuffix(family, "_bytes_total") || strings.HasSuffix(family, "_packets_total"))
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
