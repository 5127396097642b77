package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// drbd reads /proc/drbd of DRBD 8, whose fields its user's guide explains under
// "Status information in /proc/drbd". DRBD 9 has only its version there.
type drbd struct {
	path    string
	reader  reader
	devices []drbdDevice

	numbers         [drbdNumbers]drbdNumber
	connected       *metric.Family
	primary, newest *metric.Family
}

const drbdNumbers = 12

// drbdNumber is a field that is a number.
type drbdNumber struct {
	key    string
	family *metric.Family
	factor float64
}

// drbdDevice is what the file says of a device.
type drbdDevice struct {
	name    string
	has     [drbdNumbers]bool
	numbers [drbdNumbers]uint64
	state   string // of the connection; empty when not told
	roles   [2]string
	disks   [2]string // states, here and at the peer; empty when not told
}

func newDRBD(o *Options) collect.Collector {
	number := func(declare func(name, help string, labels ...string) *metric.Family, key string, factor float64, name, help string) drbdNumber {
		return drbdNumber{key, declare("node_drbd_"+name, help, "device"), factor}
	}
	const unit = 1 << 10 // the file counts KiB
	counter, gauge := metric.NewCounter, metric.NewGauge
	return &drbd{
		path: o.procPath("drbd"),
		numbers: [drbdNumbers]drbdNumber{
			number(counter, "ns", unit, "network_sent_bytes_total", "Bytes sent to the peer."),
			// A count of KiB too, but node_exporter does not multiply it, and
			// its dashboards and alerts know it as it is.
			number(counter, "nr", 1, "network_received_bytes_total", "Data received from the peer, in the unit of the file, KiB."),
			number(counter, "dw", unit, "disk_written_bytes_total", "Bytes written to the local disk."),
			number(counter, "dr", unit, "disk_read_bytes_total", "Bytes read from the local disk."),
			number(counter, "al", 1, "activitylog_writes_total", "Updates of the activity log in the meta data."),
			number(counter, "bm", 1, "bitmap_writes_total", "Updates of the bitmap in the meta data."),
			number(gauge, "lo", 1, "local_pending", "Requests to the local disk that are not answered yet."),
			number(gauge, "pe", 1, "remote_pending", "Requests to the peer that it has not answered yet."),
			number(gauge, "ua", 1, "remote_unacknowledged", "Requests of the peer that are not answered yet."),
			number(gauge, "ap", 1, "application_pending", "Requests of applications that DRBD has not answered yet."),
			number(gauge, "ep", 1, "epochs", "Epochs, groups of writes between barriers, under way."),
			number(gauge, "oos", unit, "out_of_sync_bytes", "Bytes that are not the same here and at the peer."),
		},
		connected: gauge("node_drbd_connected", "Whether DRBD is connected to the peer.", "device"),
		primary:   gauge("node_drbd_node_role_is_primary", "Whether the node has the role Primary.", "device", "node"),
		newest:    gauge("node_drbd_disk_state_is_up_to_date", "Whether the disk of the node is up to date.", "device", "node"),
	}
}

// Families implements collect.Collector.
func (c *drbd) Families() []*metric.Family {
	all := []*metric.Family{c.connected, c.primary, c.newest}
	for _, n := range c.numbers {
		all = append(all, n.family)
	}
	return all
}

// Collect implements collect.Collector.
func (c *drbd) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", c.path, collect.ErrNoData)
	}
	if err != nil {
		return err
	}
	c.devices, err = c.parse(c.path, data, c.devices[:0])
	for i := range c.devices {
		d := &c.devices[i]
		for n, has := range d.has {
			if has {
				b.Add(c.numbers[n].family, float64(d.numbers[n])*c.numbers[n].factor, d.name)
			}
		}
		if d.state != "" {
			b.Add(c.connected, oneIf(d.state == "Connected"), d.name)
		}
		for side, node := range [2]string{"local", "remote"} {
			if d.roles[side] != "" {
				b.Add(c.primary, oneIf(d.roles[side] == "Primary"), d.name, node)
			}
			if d.disks[side] != "" {
				b.Add(c.newest, oneIf(d.disks[side] == "UpToDate"), d.name, node)
			}
		}
	}
	return err
}

// parse appends the devices to dst, up to the first wrong line. A device begins
// with its number; what has the form key:value behind it are its fields.
func (c *drbd) parse(path string, data []byte, dst []drbdDevice) ([]drbdDevice, error) {
	l := newLines(path, data)
	var d *drbdDevice // nil within the head
	for l.next() {
		rest := l.line
		word, behind := field(rest)
		if number, ok := bytes.CutSuffix(word, []byte(":")); ok && digits(number) {
			n, err := strconv.ParseUint(string(number), 10, 32)
			if err != nil {
				return dst, l.errorf("%s is not the number of a device", quote(number))
			}
			dst = append(dst, drbdDevice{name: "drbd" + strconv.FormatUint(n, 10)})
			d, rest = &dst[len(dst)-1], behind
		}
		if d == nil {
			continue
		}
		if err := c.fields(d, rest); err != nil {
			return dst, l.errorf("%s: %w", d.name, err)
		}
	}
	return dst, l.end()
}

// fields takes the words of a line that are a key and a value.
func (c *drbd) fields(d *drbdDevice, line []byte) error {
	for {
		var word []byte
		if word, line = field(line); len(word) == 0 {
			return nil
		}
		key, value, ok := bytes.Cut(word, []byte(":"))
		if !ok || bytes.IndexByte(value, ':') >= 0 {
			continue
		}
		if err := c.field(d, key, value); err != nil {
			return err
		}
	}
}

// field takes a field of a device. Those that are not known are left for other
// versions.
func (c *drbd) field(d *drbdDevice, key, value []byte) (err error) {
	switch string(key) {
	case "cs":
		d.state = string(value)
		return nil
	case "ro":
		return drbdSides(key, value, &d.roles)
	case "ds":
		return drbdSides(key, value, &d.disks)
	}
	for i := range c.numbers {
		if c.numbers[i].key == string(key) {
			if d.numbers[i], err = parseUint(value); err != nil {
				return fmt.Errorf("%s: %s is not a number", key, quote(value))
			}
			d.has[i] = true
		}
	}
	return nil
}

// drbdSides reads what is true here and what at the peer, such as
// Primary/Secondary.
func drbdSides(key, value []byte, sides *[2]string) error {
	local, remote, ok := bytes.Cut(value, []byte("/"))
	if !ok || len(local) == 0 || len(remote) == 0 {
		return fmt.Errorf("%s: %s are not the states of two nodes", key, quote(value))
	}
	sides[0], sides[1] = string(local), string(remote)
	return nil
}
