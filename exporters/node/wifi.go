package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// WifiOptions of the collector wifi.
type WifiOptions struct {
	// Fixtures is a directory with files that take the place of the kernel's
	// answers, for tests. Empty asks the kernel.
	Fixtures string
}

func wifiFlags(app *kingpin.Application, f *flagSet) {
	app.Flag("collector.wifi.fixtures", "Directory with answers for tests, instead of the kernel's.").
		Hidden().StringVar(&f.options.Wifi.Fixtures)
}

// wifi exposes the wireless devices and the stations that they know.
type wifi struct {
	source wifiSource

	frequency, info *metric.Family
	values          [wifiValues]*metric.Family
}

// wifiSource is what the collector needs of a kernel. Its errors about one
// device are absent when the device does not have what is asked for.
type wifiSource interface {
	devices(context.Context) ([]wifiDevice, error)
	// network that the device is part of, nil for none.
	network(context.Context, *wifiDevice) (*wifiNetwork, error)
	stations(context.Context, *wifiDevice) ([]wifiStation, error)
}

// wifiDevice, wifiNetwork and wifiStation have the form of the files of
// WifiOptions.Fixtures.
type wifiDevice struct {
	Name      string
	Index     uint32
	Frequency uint64 // MHz
}

type wifiNetwork struct {
	SSID   string
	BSSID  []byte
	Status uint32 // enum nl80211_bss_status of include/uapi/linux/nl80211.h
}

type wifiStation struct {
	HardwareAddr                        []byte
	Connected, Inactive                 time.Duration
	ReceiveBitrate, TransmitBitrate     uint64 // bit/s
	ReceivedBytes, TransmittedBytes     uint64
	ReceivedPackets, TransmittedPackets uint32
	Signal                              int // dBm
	TransmitRetries, TransmitFailed     uint32
	BeaconLoss                          uint32
}

const wifiValues = 12

func newWifi(o *Options) collect.Collector {
	station := func(declare func(name, help string, labels ...string) *metric.Family, name, help string) *metric.Family {
		return declare("node_wifi_station_"+name, help, "device", "mac_address")
	}
	counter, gauge := metric.NewCounter, metric.NewGauge
	c := &wifi{
		source:    newNL80211(),
		frequency: gauge("node_wifi_interface_frequency_hertz", "The frequency that a wireless device works at, in hertz.", "device"),
		info: gauge("node_wifi_station_info", "The network that a wireless device is part of, value is always 1.",
			"device", "bssid", "ssid", "mode"),
		values: [wifiValues]*metric.Family{
			station(counter, "connected_seconds_total", "Seconds since the station connected."),
			station(gauge, "inactive_seconds", "Seconds since the station was last heard or spoken to."),
			station(gauge, "receive_bits_per_second", "The bit rate of what was last received from the station."),
			station(gauge, "transmit_bits_per_second", "The bit rate of what was last sent to the station."),
			station(counter, "receive_bytes_total", "Bytes received from the station."),
			station(counter, "transmit_bytes_total", "Bytes sent to the station."),
			station(gauge, "signal_dbm", "The signal of what was last received from the station, in decibel-milliwatts (dBm)."),
			station(counter, "transmit_retries_total", "Times that a packet to the station was sent again."),
			station(counter, "transmit_failed_total", "Packets that could not be sent to the station."),
			station(counter, "beacon_loss_total", "Times that beacons of the station were missed."),
			station(counter, "transmitted_packets_total", "Packets sent to the station."),
			station(counter, "received_packets_total", "Packets received from the station."),
		},
	}
	if o.Wifi.Fixtures != "" {
		c.source = &wifiFiles{dir: o.Wifi.Fixtures}
	}
	return c
}

// Families implements collect.Collector.
func (c *wifi) Families() []*metric.Family {
	return append(c.values[:len(c.values):len(c.values)], c.frequency, c.info)
}

// Collect implements collect.Collector.
func (c *wifi) Collect(ctx context.Context, b *metric.Batch) error {
	const million = 1000 * 1000
	devices, err := c.source.devices(ctx)
	if unreadable(err) { // no wireless driver, or not for this user
		return fmt.Errorf("%w: %w", collect.ErrNoData, err)
	}
	if err != nil {
		return err
	}
	var errs error
	for i := range devices {
		d := &devices[i]
		if d.Name == "" {
			continue // such as one for a peer-to-peer device
		}
		b.Add(c.frequency, float64(d.Frequency)*million, d.Name)
		network, err := c.source.network(ctx, d)
		if err != nil && !absent(err) {
			errs = errors.Join(errs, fmt.Errorf("the network of %s: %w", d.Name, err))
		}
		if network != nil {
			b.Add(c.info, 1, d.Name, net.HardwareAddr(network.BSSID).String(), network.SSID, network.mode())
		}
		stations, err := c.source.stations(ctx, d)
		if err != nil && !absent(err) {
			errs = errors.Join(errs, fmt.Errorf("the stations of %s: %w", d.Name, err))
		}
		for i := range stations {
			c.add(b, d.Name, &stations[i])
		}
	}
	return errs
}

func (c *wifi) add(b *metric.Batch, device string, s *wifiStation) {
	address := net.HardwareAddr(s.HardwareAddr).String()
	for i, v := range [wifiValues]float64{
		s.Connected.Seconds(), s.Inactive.Seconds(), float64(s.ReceiveBitrate), float64(s.TransmitBitrate),
		float64(s.ReceivedBytes), float64(s.TransmittedBytes), float64(s.Signal), float64(s.TransmitRetries),
		float64(s.TransmitFailed), float64(s.BeaconLoss), float64(s.TransmittedPackets), float64(s.ReceivedPackets),
	} {
		b.Add(c.values[i], v, device, address)
	}
}

// mode says what the device is in the network.
func (n *wifiNetwork) mode() string {
	switch n.Status {
	case unix.NL80211_BSS_STATUS_AUTHENTICATED, unix.NL80211_BSS_STATUS_ASSOCIATED:
		return "client"
	case unix.NL80211_BSS_STATUS_IBSS_JOINED:
		return "ad-hoc"
	}
	return "unknown"
}

// wifiFiles reads answers from interfaces.json and, for each device that has
// them, DEVICE/bss.json and DEVICE/stationinfo.json.
type wifiFiles struct {
	dir    string
	reader reader
}

func (f *wifiFiles) devices(context.Context) (all []wifiDevice, err error) {
	err = f.decode(&all, "interfaces.json")
	return all, err
}

func (f *wifiFiles) network(_ context.Context, d *wifiDevice) (*wifiNetwork, error) {
	var n wifiNetwork
	if err := f.decode(&n, d.Name, "bss.json"); err != nil {
		return nil, err
	}
	return &n, nil
}

func (f *wifiFiles) stations(_ context.Context, d *wifiDevice) (all []wifiStation, err error) {
	err = f.decode(&all, d.Name, "stationinfo.json")
	return all, err
}

func (f *wifiFiles) decode(v any, elem ...string) error {
	path := filepath.Join(f.dir, filepath.Join(elem...))
	data, err := f.reader.read(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w: %w", path, errSyntax, err)
	}
	return nil
}
