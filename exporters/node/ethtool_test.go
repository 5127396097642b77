package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

func TestEthtoolNames(t *testing.T) {
	t.Parallel()
	c := newEthtool(&Options{}).(*ethtool)
	f := func(stat, want string) {
		t.Helper()
		got := "none"
		if family := c.family(stat); family != nil {
			got = family.family.Name()
		}
		require.Equal(t, want, got)
	}
	f("rx_bytes", "node_ethtool_received_bytes_total")
	f("RX_bytes", "node_ethtool_received_bytes")
	f("rx_errors", "node_ethtool_received_errors_total")
	f("port.rx_errors", "node_ethtool_port_received_errors")
	f("Queue[0] AllocFails", "node_ethtool_queue_0_allocfails")
	f("Tx LPI entry count", "node_ethtool_transmitted_lpi_entry_count")
	f("[3]: tx_bytes", "node_ethtool_3_transmitted_bytes")
	f("     err", "node_ethtool_err")
	f("rxtx", "node_ethtool_rxtx")
	f("tx", "node_ethtool_transmitted")
	f("Größe", "node_ethtool_gr_e")
	f("info", "none")
	f("", "none")
}

// Only what is asked for, of the devices that are asked for.
func TestEthtoolChosen(t *testing.T) {
	t.Parallel()
	o, err := parseFlags("--collector.ethtool.device-exclude=eth1", "--collector.ethtool.metrics-include=^(rx_packets|port_rx_)")
	require.NoError(t, err)
	made := hostOptions(t)
	made.Enabled, made.DisableDefaults, made.Ethtool = map[string]bool{"ethtool": true}, true, o.Ethtool
	text := scrape(t, newExporter(t, made))
	require.Contains(t, text, `node_ethtool_port_received_dropped{device="eth0"} 8`)
	require.Contains(t, text, `node_ethtool_received_packets_total{device="eth0"} 10`)
	require.NotContains(t, text, "node_ethtool_transmitted")
	require.NotContains(t, text, `driver="other"`)
}

// A driver that fails does not hide the other devices, and one that has names
// without end is bounded.
func TestEthtoolInPart(t *testing.T) {
	t.Parallel()
	e := newExporter(t, only(hostOptions(t), "ethtool"))
	c := e.entries[0].Collector.(*exclusive).Collector.(*ethtool)
	round := 0
	c.ask = func(device string) (ethtoolAnswer, error) {
		if device == "bond0" {
			return ethtoolAnswer{}, unix.EBUSY
		}
		a, _ := madeEthtool(device)
		for i := range maxEthtoolStats / 2 {
			if device == "eth1" {
				a.stats = append(a.stats, ethtoolStat{fmt.Sprintf("q%d_%d", round, i), 1})
			}
		}
		return a, nil
	}
	for round = range 4 {
		b := metric.NewBatch()
		err := c.Collect(t.Context(), b)
		require.ErrorIs(t, err, unix.EBUSY)
		require.ErrorContains(t, err, "bond0")
		require.Contains(t, string(b.AppendText(nil)), `node_ethtool_received_packets_total{device="eth0"} 10`)
		require.LessOrEqual(t, len(c.families), maxEthtoolStats)
	}
}

// The kernel reads and writes these structures.
func TestEthtoolArguments(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, 44, unsafe.Sizeof(ethtoolCmd{}))
	require.EqualValues(t, 12, unsafe.Offsetof(ethtoolNameBuffer{}.names))
	require.EqualValues(t, 8, unsafe.Offsetof(ethtoolValueBuffer{}.values))
	require.EqualValues(t, unix.IFNAMSIZ, unsafe.Offsetof(ethtoolRequest{}.data))
	_, err := newEthtoolCalls().ask(strings.Repeat("x", unix.IFNAMSIZ))
	require.NoError(t, err, "there is no such device")
}

// This host's own devices.
func TestEthtoolOfThisHost(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	b := metric.NewBatch()
	switch err := newEthtool(&o).Collect(t.Context(), b); {
	case errors.Is(err, collect.ErrNoData):
		t.Skip("there are no network devices here")
	case err != nil:
		t.Skipf("this kernel does not answer: %v", err)
	}
	t.Logf("%d samples", b.Len())
}

func TestNoEthtoolDevices(t *testing.T) {
	t.Parallel()
	o := Options{Sysfs: t.TempDir()}
	require.ErrorIs(t, newEthtool(&o).Collect(t.Context(), metric.NewBatch()), collect.ErrNoData)
}

func FuzzEthtoolStats(f *testing.F) {
	f.Add([]byte("rx_packets"), []byte{1, 0, 0, 0, 0, 0, 0, 0})
	f.Add(append(bytes.Repeat([]byte("x"), ethtoolNameSize), "[3]: tx_bytes"...), binary.NativeEndian.AppendUint64(make([]byte, 8), 1<<63))
	c := newEthtool(&Options{}).(*ethtool)
	f.Fuzz(func(t *testing.T, all, values []byte) {
		all = append(all, make([]byte, (ethtoolNameSize-len(all)%ethtoolNameSize)%ethtoolNameSize)...)
		stats := parseEthtoolStats(all, values, names{}, nil)
		require.LessOrEqual(t, len(stats), len(values)/8)
		for _, s := range stats {
			require.NotContains(t, s.name, "\x00")
			if family := c.family(s.name); family != nil {
				require.True(t, metric.ValidName(family.family.Name()))
				require.Equal(t, strings.ToLower(family.family.Name()), family.family.Name())
			}
		}
		b := metric.NewBatch()
		c.add(b, "eth0", &ethtoolAnswer{stats: stats})
		for _, family := range c.byName {
			require.True(t, family.stat == "" && !family.clash, "nothing stays for the next device")
		}
	})
}
