package node

import (
	"slices"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"
)

func parseFlags(args ...string) (Options, error) {
	app := kingpin.New("test", "")
	flags := NewFlags(app)
	if _, err := app.Parse(args); err != nil {
		return Options{}, err
	}
	return flags.Options()
}

func TestFlagsDefaults(t *testing.T) {
	t.Parallel()
	got, err := parseFlags()
	require.NoError(t, err)
	want := DefaultOptions()
	want.Enabled = map[string]bool{}
	want.Filesystem.MountTimeout = defaultMountTimeout
	require.Equal(t, want, got)
}

func TestFlags(t *testing.T) {
	t.Parallel()
	f := func(want func(*testing.T, Options), args ...string) {
		t.Helper()
		o, err := parseFlags(args...)
		require.NoError(t, err)
		want(t, o)
	}
	names := func(want ...string) func(*testing.T, Options) {
		return func(t *testing.T, o Options) {
			t.Helper()
			e, err := New(o)
			require.NoError(t, err)
			require.Equal(t, want, e.Collectors())
		}
	}
	f(func(t *testing.T, o Options) {
		with, err := New(DefaultOptions())
		require.NoError(t, err)
		without, err := New(o)
		require.NoError(t, err)
		require.Equal(t, slices.DeleteFunc(with.Collectors(), func(name string) bool { return name == "cpu" }), without.Collectors())
	}, "--no-collector.cpu")
	f(names("cpu", "stat"), "--collector.disable-defaults", "--collector.cpu", "--collector.stat")
	f(names("cpu"), "--collector.cpu", "--collector.disable-defaults", "--no-collector.stat")
	f(func(t *testing.T, o Options) {
		require.Equal(t, "/h/proc /h/sys /h /h/udev", o.Procfs+" "+o.Sysfs+" "+o.Rootfs+" "+o.UdevData)
	}, "--path.procfs=/h/proc", "--path.sysfs=/h/sys", "--path.rootfs=/h", "--path.udev.data=/h/udev")
	f(func(t *testing.T, o Options) {
		require.True(t, o.Netdev.Devices.pass("lo"))
		require.False(t, o.Netdev.Devices.pass("eth0"))
		require.False(t, o.Netdev.Netlink)
	}, "--collector.netdev.device-include=^lo$", "--no-collector.netdev.netlink")
	f(func(t *testing.T, o Options) {
		require.True(t, o.Filesystem.MountPoints.pass("/proc"), "include alone takes the default exclude away")
		require.False(t, o.Filesystem.MountPoints.pass("/"))
	}, "--collector.filesystem.mount-points-include=^/proc")
	f(func(t *testing.T, o Options) {
		require.True(t, o.Filesystem.Types.pass("tmpfs"))
		require.False(t, o.Filesystem.Types.pass("ext4"))
	}, "--collector.filesystem.fs-types-include=tmpfs", "--collector.filesystem.fs-types-exclude=")
	f(func(t *testing.T, o Options) { require.True(t, o.Diskstats.Devices.pass("sda1")) }, "--collector.diskstats.device-exclude=")
	f(func(t *testing.T, o Options) {
		require.False(t, o.Diskstats.Devices.pass("sdx"))
		require.True(t, o.Diskstats.Devices.pass("sda1"), "the default does not hold beside it")
		require.True(t, o.Netdev.Devices.pass("lo"))
		require.False(t, o.Netdev.Devices.pass("eth0"))
		require.False(t, o.Qdisc.Devices.pass("wlan0"))
		require.False(t, o.Filesystem.Types.pass("xfs"))
		require.False(t, o.Filesystem.MountPoints.pass("/x"))
	}, "--collector.diskstats.ignored-devices=^sdx$", "--collector.netdev.device-whitelist=^lo$", "--collector.qdisk.device-exclude=wlan",
		"--collector.filesystem.ignored-fs-types=xfs", "--collector.filesystem.ignored-mount-points=^/x")
	f(func(t *testing.T, o Options) {
		require.Equal(t, []bool{true, true, true}, []bool{o.Netdev.AddressInfo, o.Netdev.Detailed, o.Netdev.LabelIfAlias})
		require.Equal(t, 9, o.Filesystem.StatWorkers)
		require.Equal(t, ".*", o.Slabinfo.Slabs.Include.String())
	}, "--collector.netdev.address-info", "--collector.netdev.enable-detailed-metrics", "--collector.netdev.label-ifalias",
		"--collector.filesystem.stat-workers=9")
	f(func(t *testing.T, o Options) { require.Equal(t, ProcessesOptions{TopBy: TopByName}, o.Processes) })
	f(func(t *testing.T, o Options) {
		require.Equal(t, ProcessesOptions{Top: 5, TopBy: TopByCgroup}, o.Processes)
	},
		"--collector.processes.top=5", "--collector.processes.top-by=cgroup")
	f(func(t *testing.T, o Options) {
		require.Equal(t, "aes", o.CPU.Flags.String())
		require.False(t, o.CPU.Guest)
		require.True(t, o.Stat.SoftIRQ)
	}, "--collector.cpu.info.flags-include=aes", "--no-collector.cpu.guest", "--collector.stat.softirq")
}

// Wrong flags: one line with the flag, the value and the cause.
func TestFlagsBad(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		_, err := parseFlags(args...)
		require.EqualError(t, err, want)
	}
	f("unknown long flag '--collector.nothing'", "--collector.nothing")
	f("--collector.processes.top=-1: a number of groups is not below 0", "--collector.processes.top=-1")
	f(`--collector.processes.top-by="pid": name or cgroup is expected`, "--collector.processes.top-by=pid")
	f("--collector.netdev.device-exclude=\"(\": error parsing regexp: missing closing ): `(`", "--collector.netdev.device-exclude=(")
	f("--collector.cpu.info.bugs-include=\"[\": error parsing regexp: missing closing ]: `[`", "--collector.cpu.info.bugs-include=[")
	f(`--collector.diskstats.device-include="a" and --collector.diskstats.device-exclude="b" are mutually exclusive; give one of them`,
		"--collector.diskstats.device-include=a", "--collector.diskstats.device-exclude=b")
	f(`--collector.netdev.device-whitelist and --collector.netdev.device-include are the same flag; give the second alone`,
		"--collector.netdev.device-whitelist=a", "--collector.netdev.device-include=b")
	f(`--collector.qdisk.device-exclude and --collector.qdisc.device-exclude are the same flag; give the second alone`,
		"--collector.qdisk.device-exclude=a", "--collector.qdisc.device-exclude=b")
	f(`--collector.qdisc.device-include="a" and --collector.qdisc.device-exclude="b" are mutually exclusive; give one of them`,
		"--collector.qdisc.device-include=a", "--collector.qdisk.device-exclude=b")
}
