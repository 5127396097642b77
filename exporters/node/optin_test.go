package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// Files about storage and devices that are wrong, of collectors that are off by
// default.
func TestBrokenOptInDevices(t *testing.T) {
	t.Parallel()
	const nfs = "device a:/b mounted on /b with fstype nfs4 statvers=1.1\n"
	const stats = "proc/self/mountstats"
	const pci = "sys/devices/pci0000:00/0000:00:02.0/"
	for _, c := range []struct{ file, content, want, failing string }{
		{stats, "", ":1: unexpected content: the file is empty", "mountstats"},
		{stats, nfs + " age: 5", ":2: unexpected content: the line has no end", "mountstats"},
		{stats, "device a:/b mounted at /b\n", `:1: unexpected content: device "a:/b" is not said to be mounted`, "mountstats"},
		{stats, nfs + "\tage:\tx\n", `:2: unexpected content: age: "x" is not a number`, "mountstats"},
		{stats, nfs + "\tage:\n", ":2: unexpected content: age: 0 numbers, at least 1 are expected", "mountstats"},
		{stats, nfs + "\tbytes:\t1 2\n", ":2: unexpected content: bytes: 2 numbers, at least 8 are expected", "mountstats"},
		{stats, nfs + "\tevents:\t1 2 -3\n", `:2: unexpected content: events: "-3" is not a number`, "mountstats"},
		{stats, nfs + "\txprt:\tquic 1 2 3\n", `:2: unexpected content: xprt: "quic" is not a protocol`, "mountstats"},
		{stats, nfs + "\txprt:\ttcp 1 2 3\n", ":2: unexpected content: xprt: 3 numbers, at least 10 are expected", "mountstats"},
		{stats, nfs + "\tper-op statistics\n\tREAD: 1 2 3\n", ":3: unexpected content: READ: 3 numbers, at least 8 are expected", "mountstats"},
		{stats, nfs + "\tper-op statistics\n\tREAD 1 2 3\n", `:3: unexpected content: "READ" is not the name of an operation`, "mountstats"},
		{"proc/self/mountinfo", noise, ":1: ", "mountstats"},
		{"proc/drbd", "", ":1: unexpected content: the file is empty", "drbd"},
		{"proc/drbd", "version: 8\n 0: cs:Connected\n ns:x\n", `:3: unexpected content: drbd0: ns: "x" is not a number`, "drbd"},
		{"proc/drbd", " 0: cs:Connected ro:Primary\n", `:1: unexpected content: drbd0: ro: "Primary" are not the states of two nodes`, "drbd"},
		{"proc/drbd", " 99999999999: cs:Connected\n", `:1: unexpected content: "99999999999" is not the number of a device`, "drbd"},
		{"proc/drbd", " 0: cs:Connected ds:U", ":1: unexpected content: the line has no end", "drbd"},
		{"sys/class/drm/card0/device/gpu_busy_percent", "busy\n", `:1: unexpected content: "busy" is not a number`, "drm"},
		{pci + "vendor", "Intel\n", `:1: unexpected content: "Intel" is not a number such as 0x8086`, "pcidevice"},
		{pci + "class", "", `:1: unexpected content: "" is not a number`, "pcidevice"},
		{pci + "max_link_speed", "fast\n", `:1: unexpected content: "fast" is not such a value`, "pcidevice"},
		{pci + "max_link_width", "x4\n", `:1: unexpected content: "x4" is not such a value`, "pcidevice"},
		{pci + "numa_node", noise, ":1: unexpected content: ", "pcidevice"},
	} {
		if strings.HasPrefix(c.file, pci) {
			brokenPCI(t, strings.TrimPrefix(c.file, pci), c.content, c.want)
			continue
		}
		broken(t, c.file, c.content, c.want, c.failing)
	}
}

// brokenPCI is broken for an attribute of a device, which /sys/bus has as links.
// The other devices are served.
func brokenPCI(t *testing.T, file, content, want string) {
	t.Helper()
	o := hostOptions(t)
	sys := t.TempDir()
	dir := filepath.Join(sys, "bus/pci/devices")
	require.NoError(t, os.CopyFS(sys, os.DirFS(o.Sysfs+"/devices/pci0000:00")))
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for _, name := range []string{"0000:00:02.0", "0000:00:1c.0"} {
		require.NoError(t, os.Rename(filepath.Join(sys, name), filepath.Join(dir, name)))
	}
	write(t, filepath.Join(dir, "0000:00:02.0", file), content)
	o.Sysfs = sys
	b := metric.NewBatch()
	err := newExporter(t, only(o, "pcidevice")).entries[0].Collector.Collect(t.Context(), b)
	require.ErrorContains(t, err, filepath.Join(dir, "0000:00:02.0", file)+want)
	require.ErrorIs(t, err, errSyntax)
	require.Contains(t, string(b.AppendText(nil)), `node_pcidevice_current_link_width{segment="0000",bus="00",device="1c",function="0"} 4`)
}

func TestNoOptInDevices(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"drbd", "pcidevice", "wifi"} {
		o := hostOptions(t)
		o.Procfs, o.Sysfs, o.Wifi.Fixtures = t.TempDir(), t.TempDir(), t.TempDir()
		err := newExporter(t, only(o, name)).entries[0].Collector.Collect(t.Context(), metric.NewBatch())
		require.ErrorIs(t, err, collect.ErrNoData, name)
	}
}

// Mounts before a wrong line are served, and a mount that only one of the two
// files has does not take another's address.
func TestMountstatsInPart(t *testing.T) {
	t.Parallel()
	o, _ := otherHost(t, "proc/self/mountstats", `device a:/gone mounted on /gone with fstype nfs statvers=1.1
	age:	1
	xprt:	udp 1 2 3 4 5 6 7

device old:/export mounted on /old with fstype nfs statvers=1.0
	age:	7
	xprt:	udp 1 2 3 4 5 6 7
	per-op statistics
	READ: 1 1 0 1 1 1 1 1

device fast:/x mounted on /fast with fstype nfs4 statvers=1.1
	age:	many
`)
	b := metric.NewBatch()
	err := newExporter(t, only(o, "mountstats")).entries[0].Collector.Collect(t.Context(), b)
	require.ErrorIs(t, err, errSyntax)
	text := string(b.AppendText(nil))
	require.Contains(t, text, `node_mountstats_nfs_age_seconds_total{export="a:/gone",protocol="udp",mountaddr=""} 1`)
	require.Contains(t, text, `node_mountstats_nfs_age_seconds_total{export="old:/export",protocol="udp",mountaddr="10.0.0.8"} 7`)
	require.Contains(t, text, `node_mountstats_nfs_transport_receives_total{export="old:/export",protocol="udp",mountaddr="10.0.0.8",transport="0"} 4`)
	require.Contains(t, text, `node_mountstats_nfs_transport_maximum_rpc_slots{export="old:/export",protocol="udp",mountaddr="10.0.0.8",transport="0"} 0`)
	require.NotContains(t, text, "fast")
}

// Without names, with a list that is not there, and one that is read once.
func TestPCINames(t *testing.T) {
	t.Parallel()
	o := only(hostOptions(t), "pcidevice")
	o.PCIDevice.Names = false
	require.NotContains(t, scrape(t, newExporter(t, o)), "vendor_name")

	ids := pciIDs{pciClass: 0x10802, pciVendor: 0x144d, pciDevice: 0xa80a, pciSubsystemVendor: 0x144d, pciSubsystemDevice: 5}
	numbers := []string{"144d", "a80a", "144d", "0005", "Unknown class (010802)"}
	given := newPCINames(filepath.Join(t.TempDir(), "pci.ids"))
	require.Equal(t, numbers, given.of(ids))
	require.ErrorIs(t, given.err, os.ErrNotExist)
	usual := newPCINames("")
	usual.paths = []string{given.paths[0]}
	require.Equal(t, numbers, usual.of(ids))
	require.NoError(t, usual.err)

	write(t, given.paths[0], "144d  Maker\n\ta80a  Disk\n\t\t144d 0005  Board\n")
	given = newPCINames(given.paths[0])
	want := []string{"Maker", "Disk", "Maker", "Board", "Unknown class (010802)"}
	require.Equal(t, want, given.of(ids))
	require.NoError(t, os.Remove(given.paths[0]))
	require.Equal(t, want, given.of(ids), "it is not read again for a device that is known")
	require.NoError(t, given.err)
}

func TestParsePCILocation(t *testing.T) {
	t.Parallel()
	f := func(name string, want ...string) {
		t.Helper()
		got, ok := parsePCILocation(name)
		require.Equal(t, len(want) > 0, ok, name)
		if ok {
			require.Equal(t, want, got[:])
		}
	}
	f("0000:45:1f.6", "0000", "45", "1f", "6")
	f("10000:e1:00.0", "10000", "e1", "00", "0")
	f("pci0000:00")
	f("0000:45:1f")
	f("0000:45:zz.0")
	f("")
}

func FuzzOptInText(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "x", "device a mounted on / with fstype ext4\n", "no device mounted on / with fstype x\n",
		"device a:/b mounted on /b with fstype nfs4 statvers=1.1\n\tage:\t5\n\tevents:\t1\n\tbytes:\t1 2 3 4 5 6 7 8\n\txprt:\ttcp 1 2 3 4 5 6 7 8 9 10 11 12 13\n" +
			"\tper-op statistics\n\t  READ: 1 2 3 4 5 6 7 18446743919241604546 9\n\n",
		"device a:/b mounted on /b with fstype nfs statvers=1.0\nxprt: udp 1 2 3 4 5 6 7\nxprt: rdma 1 2 3 4 5 6 7 8 9 10 11\n",
		"version: 8.4.3 (api:1/proto:86-101)\n\n 1: cs:Connected ro:Primary/Secondary ds:UpToDate/DUnknown C r-----\n    ns:1 nr:2 oos:3\n", " 1: ro:a\n",
		"# c\n144d  Maker\n\ta80a  Disk\n\t\t144d 0005  Board\nC 01  Storage\n\t08  Memory\n\t\t02  NVMe\nL 01  x\n\t\t\ty  z\n", "8.0 GT/s PCIe", "0000:00:1f.6", "DRIVER=amdgpu\n",
	} {
		f.Add([]byte(seed))
	}
	o := DefaultOptions()
	d := newDRBD(&o).(*drbd)
	f.Fuzz(func(t *testing.T, data []byte) {
		mounts, err := parseMountstats("f", data)
		require.True(t, known(err), err)
		for _, m := range mounts {
			require.True(t, m.export != "" && (m.fsType == "nfs" || m.fsType == "nfs4"))
			for _, op := range m.operations {
				require.Less(t, op.values[nfsQueueTime], uint64(nfsWrap))
			}
		}
		devices, err := d.parse("f", data, nil)
		require.True(t, known(err), err)
		for _, device := range devices {
			require.Regexp(t, `^drbd\d+$`, device.name)
		}
		ids := pciIDs{pciClass: 0x10802, pciVendor: 0x144d, pciDevice: 0xa80a, pciSubsystemVendor: 0x144d, pciSubsystemDevice: 5}
		keys := pciKeys(ids)
		found := map[string]string{}
		for _, key := range keys {
			found[key] = ""
		}
		wanted := len(found)
		err = parsePCIIDs("f", data, found)
		require.True(t, known(err), err)
		require.Len(t, found, wanted, "only what is wanted is kept")
		if v, ok := parsePCISpeed(data); ok {
			require.GreaterOrEqual(t, v, 0.0)
		}
		require.Equal(t, isAMDGPU(data), isAMDGPU(append([]byte("A=B\n"), data...)))
		if location, ok := parsePCILocation(string(data)); ok {
			again, ok := parsePCILocation(location[0] + ":" + location[1] + ":" + location[2] + "." + location[3])
			require.True(t, ok && again == location)
		}
	})
}
