package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// NTPOptions of the collector ntp.
type NTPOptions struct {
	// Server is asked at Port. It must be a loopback address, unless Local
	// says that it is no public server.
	Server string
	Port   int
	Local  bool
	// Version of the protocol: 2, 3 or 4.
	Version int
	// TTL of the packet sent: 1 does not leave the network.
	TTL int
	// MaxDistance to the root and OffsetTolerance bound what is sane.
	MaxDistance, OffsetTolerance time.Duration
}

func defaultNTP() NTPOptions {
	return NTPOptions{
		Server: "127.0.0.1", Port: 123, Version: 4, TTL: 1,
		// What ntpd tolerates by default, 1.5 s, and 15 ppm over its longest
		// interval.
		MaxDistance: 3466080 * time.Microsecond, OffsetTolerance: time.Millisecond,
	}
}

func ntpFlags(app *kingpin.Application, f *flagSet) {
	o := &f.options.NTP
	app.Flag("collector.ntp.server", "NTP server to use for ntp collector.").Default(o.Server).StringVar(&o.Server)
	app.Flag("collector.ntp.server-port", "UDP port number to connect to on NTP server.").Default(strconv.Itoa(o.Port)).IntVar(&o.Port)
	app.Flag("collector.ntp.protocol-version", "NTP protocol version.").Default(strconv.Itoa(o.Version)).IntVar(&o.Version)
	app.Flag("collector.ntp.server-is-local", "Certify that collector.ntp.server address is not a public ntp server.").BoolVar(&o.Local)
	app.Flag("collector.ntp.ip-ttl", "IP TTL to use while sending NTP query.").Default(strconv.Itoa(o.TTL)).IntVar(&o.TTL)
	app.Flag("collector.ntp.max-distance", "Max accumulated distance to the root.").Default(o.MaxDistance.String()).DurationVar(&o.MaxDistance)
	app.Flag("collector.ntp.local-offset-tolerance", "Offset between local clock and local ntpd time to tolerate.").
		Default(o.OffsetTolerance.String()).DurationVar(&o.OffsetTolerance)
}

// check refuses what must not be asked.
func (o *NTPOptions) check() error {
	ip := net.ParseIP(o.Server)
	const most = 65535
	switch {
	case !o.Local && (ip == nil || !ip.IsLoopback()):
		return fmt.Errorf("--collector.ntp.server=%q is no loopback address; --collector.ntp.server-is-local certifies that it is not a public server", o.Server)
	case o.Version < 2 || o.Version > 4:
		return fmt.Errorf("--collector.ntp.protocol-version=%d is none of 2, 3 and 4", o.Version)
	case o.OffsetTolerance < 0:
		return fmt.Errorf("--collector.ntp.local-offset-tolerance=%s is negative", o.OffsetTolerance)
	case o.Port < 1 || o.Port > most:
		return fmt.Errorf("--collector.ntp.server-port=%d is not between 1 and %d", o.Port, most)
	}
	return nil
}

// ntp asks an NTP server once, as SNTP (RFC 5905, section 14) has it, and
// judges its answer.
type ntp struct {
	options                                                                NTPOptions
	now                                                                    func() time.Time
	leapMidnight                                                           time.Time // of the last leap second that was announced
	stratum, leap, rtt, offset, reference, rootDelay, rootDispersion, sane *metric.Family
}

func newNTP(o *Options) collect.Collector {
	gauge := func(name, help string) *metric.Family { return metric.NewGauge("node_ntp_"+name, help) }
	return &ntp{
		options: o.NTP, now: time.Now,
		stratum:        gauge("stratum", "NTPD stratum."),
		leap:           gauge("leap", "NTPD leap second indicator, 2 bits."),
		rtt:            gauge("rtt_seconds", "RTT to NTPD."),
		offset:         gauge("offset_seconds", "ClockOffset between NTP and local clock."),
		reference:      gauge("reference_timestamp_seconds", "NTPD ReferenceTime, UNIX timestamp."),
		rootDelay:      gauge("root_delay_seconds", "NTPD RootDelay."),
		rootDispersion: gauge("root_dispersion_seconds", "NTPD RootDispersion."),
		sane:           gauge("sanity", "NTPD sanity according to RFC5905 heuristics and configured limits."),
	}
}

// Families implements collect.Collector.
func (c *ntp) Families() []*metric.Family {
	return []*metric.Family{c.stratum, c.leap, c.rtt, c.offset, c.reference, c.rootDelay, c.rootDispersion, c.sane}
}

// Collect implements collect.Collector.
func (c *ntp) Collect(ctx context.Context, b *metric.Batch) error {
	a, err := c.ask(ctx)
	if err != nil {
		return fmt.Errorf("asking the NTP server %s: %w", c.address(), ended(ctx, err))
	}
	b.Add(c.stratum, float64(a.stratum))
	b.Add(c.leap, float64(a.leap))
	b.Add(c.rtt, a.rtt().Seconds())
	b.Add(c.offset, a.offset().Seconds())
	reference := 0.0
	if a.reference.Unix() > 0 {
		reference = float64(a.reference.UnixNano()) / 1e9
	}
	b.Add(c.reference, reference)
	b.Add(c.rootDelay, a.rootDelay.Seconds())
	b.Add(c.rootDispersion, a.rootDispersion.Seconds())
	b.Add(c.sane, oneIf(c.isSane(&a)))
	return nil
}

func (c *ntp) address() string {
	return net.JoinHostPort(c.options.Server, strconv.Itoa(c.options.Port))
}

// ntpTimeout is what ntpdate waits for an answer.
const ntpTimeout = time.Second

// ask sends a packet and waits for the answer to it.
func (c *ntp) ask(ctx context.Context) (ntpAnswer, error) {
	d := net.Dialer{Control: c.setTTL}
	conn, err := d.DialContext(ctx, "udp", c.address())
	if err != nil {
		return ntpAnswer{}, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(ntpTimeout)); err != nil {
		return ntpAnswer{}, err
	}
	packet := make([]byte, ntpSize)
	const client = 3
	packet[0] = byte(c.options.Version)<<3 | client
	// What the server gives back, instead of our time, which is not its
	// business.
	cookie := packet[ntpSize-8:]
	_, _ = rand.Read(cookie) // it never fails
	sent := c.now()
	if _, err := conn.Write(packet); err != nil {
		return ntpAnswer{}, err
	}
	answer := make([]byte, 2*ntpSize)
	n, err := conn.Read(answer)
	if err != nil {
		return ntpAnswer{}, err
	}
	received := c.now()
	a, err := parseNTP(answer[:n], binary.BigEndian.Uint64(cookie))
	a.sent, a.received = sent, received
	return a, err
}

func (c *ntp) setTTL(network, _ string, raw syscall.RawConn) error {
	level, option := unix.IPPROTO_IP, unix.IP_TTL
	if network == "udp6" {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
	}
	var optionErr error
	err := raw.Control(func(fd uintptr) { optionErr = unix.SetsockoptInt(int(fd), level, option, c.options.TTL) })
	return errors.Join(err, optionErr)
}

// isSane judges as node_exporter does: by RFC 5905, the distance to the root
// and the least offset that the answer proves.
func (c *ntp) isSane(a *ntpAnswer) bool {
	const day = 24 * time.Hour
	tolerance := c.options.OffsetTolerance
	if a.leap == ntpLeapAdd || a.leap == ntpLeapDelete {
		c.leapMidnight = a.transmit.Truncate(day).Add(day) // the flag goes right behind it
	}
	if c.leapMidnight.Add(-day).Before(a.transmit) && a.transmit.Before(c.leapMidnight.Add(day)) {
		tolerance += time.Second // smeared
	}
	distance := (a.rtt()+a.rootDelay)/2 + a.rootDispersion
	return a.valid() && distance <= c.options.MaxDistance && a.leastOffset() <= tolerance
}

// ntpSize is that of a packet without extensions.
const ntpSize = 48

// Values of the leap indicator.
const (
	ntpLeapAdd = iota + 1
	ntpLeapDelete
	ntpNotInSync
)

// errNTP is what every error about the content of an answer is.
var errNTP = errors.New("unexpected NTP packet")

// ntpAnswer is what a server said, and when, by this clock, it was asked.
type ntpAnswer struct {
	leap, stratum               byte
	rootDelay, rootDispersion   time.Duration
	reference, arrive, transmit time.Time // by the server's clock
	sent, received              time.Time // by ours
}

// parseNTP reads an answer to the packet with the cookie, see RFC 5905, figure 8.
func parseNTP(data []byte, cookie uint64) (a ntpAnswer, err error) {
	if len(data) < ntpSize {
		return a, fmt.Errorf("%w: %d bytes, %d are expected", errNTP, len(data), ntpSize)
	}
	const server = 4
	if mode := data[0] & 7; mode != server {
		return a, fmt.Errorf("%w: mode %d is not that of a server", errNTP, mode)
	}
	if binary.BigEndian.Uint64(data[24:]) != cookie {
		return a, fmt.Errorf("%w: an answer to another", errNTP)
	}
	short := func(at int) time.Duration {
		return time.Duration(uint64(binary.BigEndian.Uint32(data[at:])) * uint64(time.Second) >> 16)
	}
	a = ntpAnswer{
		leap: data[0] >> 6, stratum: data[1], rootDelay: short(4), rootDispersion: short(8),
		reference: ntpTime(data[16:]), arrive: ntpTime(data[32:]), transmit: ntpTime(data[40:]),
	}
	switch {
	case binary.BigEndian.Uint64(data[40:]) == 0:
		return a, fmt.Errorf("%w: it has no time", errNTP)
	case a.arrive.After(a.transmit):
		return a, fmt.Errorf("%w: sent before the question came", errNTP)
	}
	return a, nil
}

// ntpTime reads a timestamp: seconds since 1900, or since 2036 for those whose
// first bit is not set, and their fraction. 0 is no time, and stays in 1900.
func ntpTime(data []byte) time.Time {
	const to1970, era = 2208988800, 1 << 32
	seconds, fraction := int64(binary.BigEndian.Uint32(data)), uint64(binary.BigEndian.Uint32(data[4:]))
	if seconds < era/2 && (seconds != 0 || fraction != 0) {
		seconds += era
	}
	return time.Unix(seconds-to1970, int64(fraction*uint64(time.Second)>>32))
}

// rtt is how long the packets were on their way.
func (a *ntpAnswer) rtt() time.Duration {
	return max(a.received.Sub(a.sent)-a.transmit.Sub(a.arrive), 0)
}

// offset is how far the server's clock is ahead of ours.
func (a *ntpAnswer) offset() time.Duration {
	return (a.arrive.Sub(a.sent) + a.transmit.Sub(a.received)) / 2
}

// leastOffset is what cannot be explained by packets that were on their way
// unequally long.
func (a *ntpAnswer) leastOffset() time.Duration { return max(a.offset().Abs()-a.rtt()/2, 0) }

// valid says whether a client may go by the answer, see RFC 5905, appendix A.5.
func (a *ntpAnswer) valid() bool {
	const (
		maxStratum    = 16
		maxDispersion = 16 * time.Second
		maxAge        = 1 << 17 * time.Second // the longest interval between two questions
	)
	old := a.reference.Unix() > 0 && a.transmit.Sub(a.reference) > maxAge
	return a.stratum > 0 && a.stratum < maxStratum && !old && a.rootDelay/2+a.rootDispersion <= maxDispersion &&
		!a.transmit.Before(a.reference) && a.leap != ntpNotInSync
}
