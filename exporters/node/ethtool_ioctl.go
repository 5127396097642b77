package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The arguments of SIOCETHTOOL, from include/uapi/linux/ethtool.h of the kernel.

// ethtoolRequest is struct ifreq with a pointer to one of the others.
type ethtoolRequest struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// ethtoolCmd is struct ethtool_cmd.
type ethtoolCmd struct {
	cmd, supported, advertising        uint32
	speed                              uint16
	duplex, port, address, transceiver uint8
	autoneg, mdio                      uint8
	maxSent, maxReceived               uint32
	speedHigh                          uint16
	crossover, crossoverControl        uint8
	partnerAdvertising                 uint32
	_                                  [2]uint32
}

const (
	ethtoolNameSize = 32 // ETH_GSTRING_LEN
	ethtoolStatSet  = 1  // ETH_SS_STATS
)

// ethtoolNameBuffer is struct ethtool_gstrings, and ethtoolValueBuffer struct
// ethtool_stats, for the most statistics that are asked for: the kernel writes
// as many as the device has by then, not as many as fit.
type (
	ethtoolNameBuffer struct {
		cmd, set, count uint32
		names           [maxEthtoolStats * ethtoolNameSize]byte
	}
	ethtoolValueBuffer struct {
		cmd, count uint32
		values     [maxEthtoolStats * 8]byte
	}
)

// ethtoolCalls asks the kernel. The buffers are kept between calls; of their
// memory only what was once written to is used.
type ethtoolCalls struct {
	names  *ethtoolNameBuffer
	values *ethtoolValueBuffer
	stats  []ethtoolStat
	text   names
}

func newEthtoolCalls() *ethtoolCalls { return &ethtoolCalls{text: names{}} }

// ask asks for everything that is exposed of the device. The statistics are
// valid until the next call.
func (c *ethtoolCalls) ask(device string) (a ethtoolAnswer, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return a, fmt.Errorf("socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	cmd := ethtoolCmd{cmd: unix.ETHTOOL_GSET}
	settingsErr := ethtoolCall(fd, device, unsafe.Pointer(&cmd))
	if settingsErr == nil {
		a.settings = &ethtoolSettings{supported: cmd.supported, advertised: cmd.advertising, autonegotiate: cmd.autoneg}
	}
	driver := unix.EthtoolDrvinfo{Cmd: unix.ETHTOOL_GDRVINFO}
	driverErr := ethtoolCall(fd, device, unsafe.Pointer(&driver))
	if driverErr != nil {
		return a, errors.Join(unsupported(settingsErr), unsupported(driverErr))
	}
	text := func(s []byte) string { return c.text.text(zeroEnded(s)) }
	a.driver = &ethtoolDriver{
		bus: text(driver.Bus_info[:]), name: text(driver.Driver[:]), expansionROM: text(driver.Erom_version[:]),
		firmware: text(driver.Fw_version[:]), version: text(driver.Version[:]),
	}
	var statsErr error
	a.stats, statsErr = c.readStats(fd, device, driver.N_stats)
	return a, errors.Join(unsupported(settingsErr), unsupported(statsErr))
}

// readStats asks for the names and the values of the statistics.
func (c *ethtoolCalls) readStats(fd int, device string, count uint32) ([]ethtoolStat, error) {
	if count == 0 {
		return nil, nil
	}
	if count > maxEthtoolStats/2 { // the rest is for those that come meanwhile
		return nil, fmt.Errorf("%d statistics, %d are expected at most", count, maxEthtoolStats/2)
	}
	if c.names == nil {
		c.names, c.values = new(ethtoolNameBuffer), new(ethtoolValueBuffer)
	}
	c.names.cmd, c.names.set, c.names.count = unix.ETHTOOL_GSTRINGS, ethtoolStatSet, count
	if err := ethtoolCall(fd, device, unsafe.Pointer(c.names)); err != nil {
		return nil, fmt.Errorf("names of statistics: %w", err)
	}
	c.values.cmd, c.values.count = unix.ETHTOOL_GSTATS, count
	if err := ethtoolCall(fd, device, unsafe.Pointer(c.values)); err != nil {
		return nil, fmt.Errorf("statistics: %w", err)
	}
	if c.names.count != c.values.count || c.names.count > maxEthtoolStats {
		return nil, fmt.Errorf("%d names of %d statistics", c.names.count, c.values.count)
	}
	count = c.names.count
	c.stats = parseEthtoolStats(c.names.names[:count*ethtoolNameSize], c.values.values[:count*8], c.text, c.stats[:0])
	return c.stats, nil
}

// parseEthtoolStats appends those statistics that have a name to dst.
func parseEthtoolStats(all, values []byte, known names, dst []ethtoolStat) []ethtoolStat {
	for len(all) >= ethtoolNameSize && len(values) >= 8 {
		if name := zeroEnded(all[:ethtoolNameSize]); len(name) > 0 {
			dst = append(dst, ethtoolStat{known.text(name), binary.NativeEndian.Uint64(values)})
		}
		all, values = all[ethtoolNameSize:], values[8:]
	}
	return dst
}

// ethtoolCall asks a device. The argument is written to.
func ethtoolCall(fd int, device string, argument unsafe.Pointer) error {
	request := ethtoolRequest{data: argument}
	if len(device) >= len(request.name) {
		return unix.ENODEV
	}
	copy(request.name[:], device)
	return ioctl(fd, unix.SIOCETHTOOL, unsafe.Pointer(&request))
}

// unsupported makes what a driver cannot tell, or a device that was removed
// this moment, to no error.
func unsupported(err error) error {
	if absent(err) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTTY) {
		return nil
	}
	return err
}

// zeroEnded is the text before the first zero byte.
func zeroEnded(s []byte) []byte {
	for i, b := range s {
		if b == 0 {
			return s[:i]
		}
	}
	return s
}
