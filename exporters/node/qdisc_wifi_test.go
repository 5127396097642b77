package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// words are the bytes of numbers of 32 bits.
func words(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// nested is an attribute made of others.
func nested(kind uint16, attributes ...[]byte) []byte {
	var b []byte
	for _, a := range attributes {
		b = append(b, a...)
	}
	return attribute(kind|unix.NLA_F_NESTED, b)
}

// qdiscMessage is a queueing discipline as the kernel tells it.
func qdiscMessage(index, parent uint32, attributes ...[]byte) []byte {
	body := words(0, index, 0x80010000, parent, 2)
	for _, a := range attributes {
		body = append(body, a...)
	}
	return message(unix.RTM_NEWQDISC, 0, body)
}

func TestQdiscMessages(t *testing.T) {
	t.Parallel()
	kind := func(s string) []byte { return attribute(tcaKind, append([]byte(s), 0)) }
	const root = 0xffffffff
	basic := attribute(tcaStatsBasic, append(binary.NativeEndian.AppendUint64(nil, 1<<40), words(7, 0)...))
	queue := attribute(tcaStatsQueue, words(1, 2, 3, 4, 5))
	old := attribute(tcaStats, append(binary.NativeEndian.AppendUint64(nil, 50), words(6, 7, 8, 0, 0, 9, 10)...))
	f := func(want string, messages ...[]byte) {
		t.Helper()
		c := newQdisc(&Options{}).(*qdiscs)
		c.deviceName = func(index uint32) (string, error) {
			if index == 9 {
				return "", fmt.Errorf("gone: %w", unix.ENODEV)
			}
			return fmt.Sprintf("eth%d", index), nil
		}
		got := ""
		for _, m := range messages {
			_, err := eachMessage(m, c.addMessage)
			if err != nil {
				got += err.Error() + " "
			}
		}
		for i := range c.all {
			q := c.all[i].qdisc
			got += fmt.Sprintf("%d %s %d %d %d %d %d %d %d ", c.all[i].index, q.Kind, q.Bytes, q.Packets, q.Drops, q.Requeues, q.Overlimits, q.Length, q.Backlog)
		}
		require.Equal(t, want, got)
	}
	f("2 mq 1099511627776 7 3 4 5 1 2 ", qdiscMessage(2, root, kind("mq"), nested(tcaStats2, basic, queue), old))
	f("2 htb 50 6 7 0 8 9 10 ", qdiscMessage(2, 0, kind("htb"), old))
	f("", qdiscMessage(2, 1, kind("fq_codel"), old))
	f("3 noqueue 0 0 0 0 0 0 0 ", qdiscMessage(3, root, kind("noqueue"), attribute(tcaStats, words(1)), nested(tcaStats2, attribute(tcaStatsBasic, nil))))
	f("unexpected netlink message: 4 bytes with a header of 20 ", message(unix.RTM_NEWQDISC, 0, words(1)))
	f("unexpected netlink message: attribute of length 200 in a rest of 4 bytes ", qdiscMessage(2, root, []byte{200, 0, 1, 0}))
	f("unexpected netlink message: attribute of length 200 in a rest of 4 bytes ", qdiscMessage(2, root, attribute(tcaStats2, []byte{200, 0, 1, 0})))
}

// This host's own disciplines, where the kernel has them.
func TestQdiscOfThisHost(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	b := metric.NewBatch()
	if err := newQdisc(&o).Collect(t.Context(), b); err != nil {
		t.Skipf("this kernel does not tell of queueing disciplines: %v", err)
	}
	if text := string(b.AppendText(nil)); text != "" {
		require.Regexp(t, `node_qdisc_bytes_total\{device="[^"]+",kind="[^"]+"\} \d+`, text)
	}
}

// Answers in files that are wrong.
func TestBrokenFixtures(t *testing.T) {
	t.Parallel()
	f := func(name, file, content string, want error) {
		t.Helper()
		o := only(hostOptions(t), name)
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Dir(o.Procfs)+"/"+name)))
		write(t, filepath.Join(dir, file), content)
		o.Qdisc.Fixtures, o.Wifi.Fixtures = dir, dir
		err := newExporter(t, o).entries[0].Collector.Collect(t.Context(), metric.NewBatch())
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, filepath.Join(dir, file))
	}
	f("qdisc", "results.json", "{", errSyntax)
	f("qdisc", "results.json", `[{"Bytes":-1}]`, errSyntax)
	f("wifi", "interfaces.json", "", errSyntax)
	f("wifi", "wlan0/bss.json", `{"bssid":5}`, errSyntax)
	f("wifi", "wlan0/stationinfo.json", noise, errSyntax)
}

func stationMessage() []byte {
	rate := func(kind uint16, attributes ...[]byte) []byte { return nested(kind, attributes...) }
	return message(30, 0, append([]byte{unix.NL80211_CMD_NEW_STATION, 1, 0, 0}, append(attribute(unix.NL80211_ATTR_MAC, []byte{2, 0, 0, 0, 0, 1}),
		nested(unix.NL80211_ATTR_STA_INFO,
			attribute(unix.NL80211_STA_INFO_CONNECTED_TIME, words(60)), attribute(unix.NL80211_STA_INFO_INACTIVE_TIME, words(250)),
			attribute(unix.NL80211_STA_INFO_RX_BYTES, words(5)), attribute(unix.NL80211_STA_INFO_RX_BYTES64, binary.NativeEndian.AppendUint64(nil, 1<<33)),
			attribute(unix.NL80211_STA_INFO_TX_BYTES, words(77)), attribute(unix.NL80211_STA_INFO_SIGNAL, []byte{0xc4}),
			attribute(unix.NL80211_STA_INFO_RX_PACKETS, words(1)), attribute(unix.NL80211_STA_INFO_TX_PACKETS, words(2)),
			attribute(unix.NL80211_STA_INFO_TX_RETRIES, words(3)), attribute(unix.NL80211_STA_INFO_TX_FAILED, words(4)),
			attribute(unix.NL80211_STA_INFO_BEACON_LOSS, words(5)),
			rate(unix.NL80211_STA_INFO_RX_BITRATE, attribute(unix.NL80211_RATE_INFO_BITRATE, []byte{10, 0}), attribute(unix.NL80211_RATE_INFO_BITRATE32, words(70000))),
			rate(unix.NL80211_STA_INFO_TX_BITRATE, attribute(unix.NL80211_RATE_INFO_BITRATE, []byte{10, 0})))...)...))
}

func networkMessage(attributes ...[]byte) []byte {
	return message(30, 0, append([]byte{unix.NL80211_CMD_NEW_SCAN_RESULTS, 1, 0, 0}, nested(unix.NL80211_ATTR_BSS, attributes...)...))
}

// attributesOf are those of a message of nl80211.
func attributesOf(m []byte) netlinkAttributes {
	return newNetlinkAttributes(m[unix.SizeofNlMsghdr:], genericHeader)
}

func TestWifiMessages(t *testing.T) {
	t.Parallel()
	s, err := parseWifiStation(attributesOf(stationMessage()))
	require.NoError(t, err)
	require.Equal(t, wifiStation{
		HardwareAddr: []byte{2, 0, 0, 0, 0, 1}, Connected: time.Minute, Inactive: 250 * time.Millisecond,
		ReceiveBitrate: 7_000_000_000, TransmitBitrate: 1_000_000, ReceivedBytes: 1 << 33, TransmittedBytes: 77,
		ReceivedPackets: 1, TransmittedPackets: 2, Signal: -60, TransmitRetries: 3, TransmitFailed: 4, BeaconLoss: 5,
	}, s)

	d, err := parseWifiDevice(attributesOf(message(30, 0, append([]byte{7, 1, 0, 0}, append(append(
		attribute(unix.NL80211_ATTR_IFINDEX, words(3)), attribute(unix.NL80211_ATTR_IFNAME, []byte("wlan0\x00"))...),
		attribute(unix.NL80211_ATTR_WIPHY_FREQ, words(5180))...)...))))
	require.NoError(t, err)
	require.Equal(t, wifiDevice{Name: "wlan0", Index: 3, Frequency: 5180}, d)

	elements := attribute(unix.NL80211_BSS_INFORMATION_ELEMENTS, []byte{1, 1, 0x82, 0, 4, 'm', 'a', 'd', 'e'})
	joined := attribute(unix.NL80211_BSS_STATUS, words(unix.NL80211_BSS_STATUS_IBSS_JOINED))
	address := attribute(unix.NL80211_BSS_BSSID, []byte{2, 0, 0, 0, 0, 9})
	n, err := parseWifiNetwork(attributesOf(networkMessage(address, elements, joined)))
	require.NoError(t, err)
	require.Equal(t, &wifiNetwork{SSID: "made", BSSID: []byte{2, 0, 0, 0, 0, 9}, Status: 2}, n)
	require.Equal(t, "ad-hoc", n.mode())
	require.Equal(t, "unknown", (&wifiNetwork{Status: 7}).mode())
	n, err = parseWifiNetwork(attributesOf(networkMessage(address, elements)))
	require.NoError(t, err)
	require.Nil(t, n, "it was heard only")
	_, err = parseWifiNetwork(attributesOf(networkMessage(joined, []byte{99, 0, 1, 0})))
	require.ErrorIs(t, err, errNetlink)
	require.Empty(t, wifiName([]byte{0, 9, 'x'}))
}

// madeWifi answers with an error for some devices.
type madeWifi struct{ err error }

func (w madeWifi) devices(context.Context) ([]wifiDevice, error) {
	return []wifiDevice{{Name: "wlan0", Frequency: 2412}, {Name: "wlan1"}}, nil
}

func (w madeWifi) network(_ context.Context, d *wifiDevice) (*wifiNetwork, error) {
	if d.Name == "wlan0" {
		return nil, w.err
	}
	return &wifiNetwork{SSID: "x", Status: 1}, nil
}

func (w madeWifi) stations(_ context.Context, d *wifiDevice) ([]wifiStation, error) {
	return []wifiStation{{HardwareAddr: []byte{1}}}, nil
}

// A device whose network cannot be asked for does not hide what is known.
func TestWifiInPart(t *testing.T) {
	t.Parallel()
	f := func(cause, want error) {
		t.Helper()
		c := newWifi(&Options{}).(*wifi)
		c.source = madeWifi{cause}
		b := metric.NewBatch()
		require.ErrorIs(t, c.Collect(t.Context(), b), want)
		text := string(b.AppendText(nil))
		require.Contains(t, text, `node_wifi_station_info{device="wlan1",bssid="",ssid="x",mode="client"} 1`)
		require.Contains(t, text, `node_wifi_station_signal_dbm{device="wlan0",mac_address="01"} 0`)
		require.NotContains(t, text, `node_wifi_station_info{device="wlan0"`)
	}
	f(unix.EBUSY, unix.EBUSY)
	f(unix.ENOENT, nil)
	f(unix.EOPNOTSUPP, nil)
}

// Without a wireless driver there is nothing to measure.
func TestWifiOfThisHost(t *testing.T) {
	t.Parallel()
	c := newWifi(&Options{})
	err := c.Collect(t.Context(), metric.NewBatch())
	if err != nil && !errors.Is(err, collect.ErrNoData) {
		t.Skipf("this kernel does not answer: %v", err)
	}
}

func FuzzQdiscWifiNetlink(f *testing.F) {
	f.Add(qdiscMessage(2, 0, nested(tcaStats2, attribute(tcaStatsBasic, make([]byte, 16)))))
	f.Add(qdiscMessage(2, 0, attribute(tcaStats, make([]byte, 36))))
	f.Add(stationMessage())
	f.Add(networkMessage(attribute(unix.NL80211_BSS_INFORMATION_ELEMENTS, []byte{0, 1, 'x'}), attribute(unix.NL80211_BSS_STATUS, words(1))))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := newQdisc(&Options{}).(*qdiscs)
		for _, each := range []func(uint16, []byte) error{
			c.addMessage,
			func(_ uint16, body []byte) error {
				_, err := parseWifiStation(newNetlinkAttributes(body, genericHeader))
				return err
			},
			func(_ uint16, body []byte) error {
				n, err := parseWifiNetwork(newNetlinkAttributes(body, genericHeader))
				require.True(t, n == nil || err == nil)
				return err
			},
			func(_ uint16, body []byte) error {
				_, err := parseWifiDevice(newNetlinkAttributes(body, genericHeader))
				return err
			},
		} {
			_, err := eachMessage(data, each)
			var errno syscall.Errno
			require.True(t, err == nil || errors.Is(err, errNetlink) || errors.Is(err, errInterrupted) || errors.As(err, &errno), err)
		}
		for i := range c.all {
			require.Zero(t, c.all[i].Parent)
		}
	})
}
