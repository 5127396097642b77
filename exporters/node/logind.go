package node

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/godbus/dbus/v5"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

const (
	logindName = "org.freedesktop.login1"
	logindPath = dbus.ObjectPath("/org/freedesktop/login1")
)

// logind counts the sessions of users, asking systemd-logind over D-Bus, see
// org.freedesktop.login1(5).
type logind struct {
	address        string // of the system bus, empty for the usual one
	types, classes []string
	sessions       *metric.Family
}

// logindOther is what a type or class is shown as that is not listed.
const logindOther = "other"

func newLogind(o *Options) collect.Collector {
	return &logind{
		address:  o.systemBus,
		types:    []string{logindOther, "unspecified", "tty", "x11", "wayland", "mir", "web"},
		classes:  []string{logindOther, "user", "greeter", "lock-screen", "background"},
		sessions: metric.NewGauge("node_logind_sessions", "Number of sessions registered in logind.", "seat", "remote", "type", "class"),
	}
}

// Families implements collect.Collector.
func (c *logind) Families() []*metric.Family { return []*metric.Family{c.sessions} }

// logindSeat is an element of the answer of ListSeats.
type logindSeat struct {
	ID   string
	Path dbus.ObjectPath
}

// logindSession is an element of the answer of ListSessions.
type logindSession struct {
	ID   string
	UID  uint32
	User string
	Seat string
	Path dbus.ObjectPath
}

// sessionKind is what sessions are counted by: the labels of the family.
type sessionKind struct{ seat, remote, kind, class string }

// Collect implements collect.Collector.
func (c *logind) Collect(ctx context.Context, b *metric.Batch) error {
	conn, err := dialSystemBus(ctx, c.address)
	if err != nil {
		return err
	}
	defer conn.close()
	var seats []logindSeat
	if err := conn.call(ctx, logindName, logindPath, logindName+".Manager.ListSeats", &seats); err != nil {
		return fmt.Errorf("asking logind for the seats: %w", err)
	}
	var sessions []logindSession
	if err := conn.call(ctx, logindName, logindPath, logindName+".Manager.ListSessions", &sessions); err != nil {
		return fmt.Errorf("asking logind for the sessions: %w", err)
	}
	names := [3]string{"Remote", "Type", "Class"}
	properties := make([]busProperty, 0, len(names)*len(sessions))
	for _, s := range sessions {
		for _, name := range names {
			properties = append(properties, busProperty{path: s.Path, interfaceOf: logindName + ".Session", name: name})
		}
	}
	err = conn.read(ctx, logindName, properties)
	counts := map[sessionKind]int{}
	for i, s := range sessions {
		remote, kind, class := properties[3*i], properties[3*i+1], properties[3*i+2]
		if isRemote, ok := remote.value.(bool); ok && kind.isText && class.isText {
			counts[sessionKind{s.Seat, strconv.FormatBool(isRemote), listed(c.types, kind.text), listed(c.classes, class.text)}]++
		}
	}
	c.add(b, seats, counts)
	if err != nil {
		return fmt.Errorf("asking logind for its sessions: %w", err)
	}
	return nil
}

// listed gives a value that is listed, or else the first of the list.
func listed(list []string, value string) string {
	if slices.Contains(list, value) {
		return value
	}
	return list[0]
}

// add adds a sample for every kind of session, whether there is one or not.
// Remote sessions have no seat.
func (c *logind) add(b *metric.Batch, seats []logindSeat, counts map[sessionKind]int) {
	for _, seat := range append(seats, logindSeat{}) {
		for _, remote := range []string{"true", "false"} {
			for _, kind := range c.types {
				for _, class := range c.classes {
					b.Add(c.sessions, float64(counts[sessionKind{seat.ID, remote, kind, class}]), seat.ID, remote, kind, class)
				}
			}
		}
	}
}
