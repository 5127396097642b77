package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// nl80211 asks the kernel's wireless subsystem, see
// include/uapi/linux/nl80211.h of the kernel.
type nl80211 struct {
	netlink netlink
	family  uint16 // 0 when not known yet
}

func newNL80211() *nl80211 { return &nl80211{netlink: netlink{protocol: unix.NETLINK_GENERIC}} }

// dump asks for a list and gives each answer's attributes.
func (n *nl80211) dump(ctx context.Context, command uint8, of *wifiDevice, begin func(), each func(netlinkAttributes) error) error {
	if n.family == 0 {
		var err error
		if n.family, err = genericFamily(ctx, &n.netlink, unix.NL80211_GENL_NAME); err != nil {
			return err
		}
	}
	var attributes []byte
	if of != nil {
		attributes = netlinkAttribute(unix.NL80211_ATTR_IFINDEX, binary.NativeEndian.AppendUint32(nil, of.Index))
	}
	request := netlinkRequest(n.family, unix.NLM_F_DUMP, genericBody(command, 0, attributes))
	err := n.netlink.ask(ctx, request, begin, func(_ uint16, body []byte) error {
		return each(newNetlinkAttributes(body, genericHeader))
	})
	if err != nil {
		n.family = 0 // the module may have been loaded anew
		return fmt.Errorf("asking nl80211: %w", err)
	}
	return nil
}

func (n *nl80211) devices(ctx context.Context) (all []wifiDevice, err error) {
	err = n.dump(ctx, unix.NL80211_CMD_GET_INTERFACE, nil, func() { all = nil }, func(a netlinkAttributes) error {
		d, err := parseWifiDevice(a)
		all = append(all, d)
		return err
	})
	return all, err
}

func (n *nl80211) network(ctx context.Context, of *wifiDevice) (network *wifiNetwork, err error) {
	err = n.dump(ctx, unix.NL80211_CMD_GET_SCAN, of, func() { network = nil }, func(a netlinkAttributes) error {
		found, err := parseWifiNetwork(a)
		if network == nil {
			network = found
		}
		return err
	})
	return network, err
}

func (n *nl80211) stations(ctx context.Context, of *wifiDevice) (all []wifiStation, err error) {
	err = n.dump(ctx, unix.NL80211_CMD_GET_STATION, of, func() { all = nil }, func(a netlinkAttributes) error {
		s, err := parseWifiStation(a)
		if err == nil && s.HardwareAddr != nil {
			all = append(all, s)
		}
		return err
	})
	return all, err
}

func parseWifiDevice(a netlinkAttributes) (d wifiDevice, err error) {
	for a.next() {
		switch a.kind {
		case unix.NL80211_ATTR_IFINDEX:
			d.Index = uint32(a.uint())
		case unix.NL80211_ATTR_IFNAME:
			d.Name = string(a.text())
		case unix.NL80211_ATTR_WIPHY_FREQ:
			d.Frequency = a.uint()
		}
	}
	return d, a.err
}

// parseWifiNetwork reads a network that was heard. It is nil unless the device
// is part of it.
func parseWifiNetwork(a netlinkAttributes) (*wifiNetwork, error) {
	var n wifiNetwork
	joined := false
	for a.next() {
		if a.kind != unix.NL80211_ATTR_BSS {
			continue
		}
		bss := newNetlinkAttributes(a.value, 0)
		for bss.next() {
			switch bss.kind {
			case unix.NL80211_BSS_BSSID:
				n.BSSID = bytes.Clone(bss.value)
			case unix.NL80211_BSS_STATUS:
				n.Status, joined = uint32(bss.uint()), true
			case unix.NL80211_BSS_INFORMATION_ELEMENTS:
				n.SSID = wifiName(bss.value)
			}
		}
		if bss.err != nil {
			return nil, bss.err
		}
	}
	if !joined || a.err != nil {
		return nil, a.err
	}
	return &n, nil
}

// wifiName finds the network's name in what an access point sends of itself: a
// row of elements, each with its kind and length, of IEEE 802.11.
func wifiName(elements []byte) string {
	const ssid = 0
	for len(elements) >= 2 {
		kind, length := elements[0], int(elements[1])
		if elements = elements[2:]; length > len(elements) {
			break
		}
		if kind == ssid {
			return string(elements[:length])
		}
		elements = elements[length:]
	}
	return ""
}

func parseWifiStation(a netlinkAttributes) (s wifiStation, err error) {
	for a.next() {
		switch a.kind {
		case unix.NL80211_ATTR_MAC:
			s.HardwareAddr = bytes.Clone(a.value)
		case unix.NL80211_ATTR_STA_INFO:
			if err := s.parse(newNetlinkAttributes(a.value, 0)); err != nil {
				return s, err
			}
		}
	}
	return s, a.err
}

// parse reads the nested attributes of a station. Counters of 32 bits, which
// overflow, are used where the driver has no others.
func (s *wifiStation) parse(a netlinkAttributes) (err error) {
	var received, transmitted uint64
	for a.next() && err == nil {
		switch a.kind {
		case unix.NL80211_STA_INFO_CONNECTED_TIME:
			s.Connected = time.Duration(uint32(a.uint())) * time.Second
		case unix.NL80211_STA_INFO_INACTIVE_TIME:
			s.Inactive = time.Duration(uint32(a.uint())) * time.Millisecond
		case unix.NL80211_STA_INFO_RX_BYTES64:
			s.ReceivedBytes = a.uint()
		case unix.NL80211_STA_INFO_TX_BYTES64:
			s.TransmittedBytes = a.uint()
		case unix.NL80211_STA_INFO_RX_BYTES:
			received = a.uint()
		case unix.NL80211_STA_INFO_TX_BYTES:
			transmitted = a.uint()
		case unix.NL80211_STA_INFO_SIGNAL:
			s.Signal = int(int8(a.uint()))
		case unix.NL80211_STA_INFO_RX_PACKETS:
			s.ReceivedPackets = uint32(a.uint())
		case unix.NL80211_STA_INFO_TX_PACKETS:
			s.TransmittedPackets = uint32(a.uint())
		case unix.NL80211_STA_INFO_TX_RETRIES:
			s.TransmitRetries = uint32(a.uint())
		case unix.NL80211_STA_INFO_TX_FAILED:
			s.TransmitFailed = uint32(a.uint())
		case unix.NL80211_STA_INFO_BEACON_LOSS:
			s.BeaconLoss = uint32(a.uint())
		case unix.NL80211_STA_INFO_RX_BITRATE:
			s.ReceiveBitrate, err = parseWifiRate(a.value)
		case unix.NL80211_STA_INFO_TX_BITRATE:
			s.TransmitBitrate, err = parseWifiRate(a.value)
		}
	}
	if s.ReceivedBytes == 0 {
		s.ReceivedBytes = received
	}
	if s.TransmittedBytes == 0 {
		s.TransmittedBytes = transmitted
	}
	if err != nil {
		return err
	}
	return a.err
}

// parseWifiRate gives a rate in bit/s. The kernel has it in 100 kbit/s, and in
// 16 bits too for programs that came before faster networks.
func parseWifiRate(nested []byte) (uint64, error) {
	const unit = 100 * 1000
	var rate, short uint64
	a := newNetlinkAttributes(nested, 0)
	for a.next() {
		switch a.kind {
		case unix.NL80211_RATE_INFO_BITRATE32:
			rate = uint64(uint32(a.uint()))
		case unix.NL80211_RATE_INFO_BITRATE:
			short = uint64(uint16(a.uint()))
		}
	}
	if rate == 0 {
		rate = short
	}
	return rate * unit, a.err
}
