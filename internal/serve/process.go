package serve

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/metric"
)

// processSelf says of this process what client_golang's collector says, under
// the same names, for a tenth of its time: that one reads all of /proc/stat for
// the time of the boot, and takes apart whole files, at every scrape. It is not
// safe for concurrent use.
type processSelf struct {
	cpu, openFDs, maxFDs, virtual, maxVirtual, resident, start, received, transmitted *metric.Family

	buf  []byte
	boot float64 // Unix seconds, 0 when not known yet
}

func newProcessSelf() processSelf {
	return processSelf{
		cpu:         metric.NewCounter("process_cpu_seconds_total", "Processor time of this process, user and system, in seconds."),
		openFDs:     metric.NewGauge("process_open_fds", "File descriptors that are open."),
		maxFDs:      metric.NewGauge("process_max_fds", "File descriptors that may be open."),
		virtual:     metric.NewGauge("process_virtual_memory_bytes", "Size of the address space in bytes."),
		maxVirtual:  metric.NewGauge("process_virtual_memory_max_bytes", "Bound on the address space in bytes."),
		resident:    metric.NewGauge("process_resident_memory_bytes", "Resident memory in bytes."),
		start:       metric.NewGauge("process_start_time_seconds", "When this process began, in Unix seconds."),
		received:    metric.NewCounter("process_network_receive_bytes_total", "Bytes of IP packets received in the network namespace of this process."),
		transmitted: metric.NewCounter("process_network_transmit_bytes_total", "Bytes of IP packets sent in the network namespace of this process."),
	}
}

// collect adds what the system tells; the rest is left out.
func (p *processSelf) collect(b *metric.Batch) {
	if data, err := p.read("/proc/self/stat"); err == nil {
		if s, err := parseProcessStat(data); err == nil {
			b.Add(p.cpu, s.cpu)
			b.Add(p.virtual, s.virtual)
			b.Add(p.resident, s.resident*float64(os.Getpagesize()))
			if p.boot == 0 {
				p.boot = p.bootTime()
			}
			if p.boot != 0 {
				b.Add(p.start, p.boot+s.start)
			}
		}
	}
	if n, err := openDescriptors(); err == nil {
		b.Add(p.openFDs, float64(n))
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		b.Add(p.maxFDs, float64(limit.Cur))
	}
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) == nil {
		b.Add(p.maxVirtual, float64(limit.Cur))
	}
	if data, err := p.read("/proc/self/net/netstat"); err == nil {
		if in, out, ok := parseOctets(data); ok {
			b.Add(p.received, in)
			b.Add(p.transmitted, out)
		}
	}
}

// read gives a file of /proc, valid until the next call.
func (p *processSelf) read(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	p.buf = p.buf[:0]
	for {
		if len(p.buf) == cap(p.buf) {
			p.buf = append(p.buf, make([]byte, 4096)...)[:len(p.buf)]
		}
		n, err := unix.Read(fd, p.buf[len(p.buf):cap(p.buf)])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if n == 0 {
			return p.buf, nil
		}
		p.buf = p.buf[:len(p.buf)+n]
	}
}

// userHZ is the unit of times in /proc/PID/stat, the same on all of Linux'
// common platforms.
const userHZ = 100

// processStat is what is taken of /proc/self/stat, see proc_pid_stat(5): times
// in seconds, the start since the boot; the address space in bytes, what is
// resident of it in pages.
type processStat struct{ cpu, start, virtual, resident float64 }

func parseProcessStat(data []byte) (processStat, error) {
	// The name, in brackets, may have spaces and brackets.
	rest := data[bytes.LastIndexByte(data, ')')+1:]
	const utime, stime, starttime, vsize, rss = 11, 12, 19, 20, 21
	var v [rss + 1]float64
	place := 0
	for f := range bytes.FieldsSeq(rest) {
		switch place {
		case utime, stime, starttime, vsize, rss:
			n, err := strconv.ParseUint(string(f), 10, 64)
			if err != nil {
				return processStat{}, fmt.Errorf("stat: %w", err)
			}
			v[place] = float64(n)
		}
		if place++; place > rss {
			break
		}
	}
	if place <= rss {
		return processStat{}, errors.New("stat is too short")
	}
	return processStat{cpu: (v[utime] + v[stime]) / userHZ, start: v[starttime] / userHZ, virtual: v[vsize], resident: v[rss]}, nil
}

// bootTime is the line btime of /proc/stat, 0 when there is none.
func (p *processSelf) bootTime() float64 {
	data, err := p.read("/proc/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(data, []byte("\nbtime "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	seconds, err := strconv.ParseUint(string(line), 10, 64)
	if err != nil {
		return 0
	}
	return float64(seconds)
}

// openDescriptors counts the descriptors of this process. Since Linux 6.2 their
// number is the size of the directory.
func openDescriptors() (int, error) {
	const dir = "/proc/self/fd"
	var s unix.Stat_t
	if err := unix.Stat(dir, &s); err == nil && s.Size > 0 && s.Size < math.MaxInt32 {
		return int(s.Size), nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	return len(names), err
}

// parseOctets finds InOctets and OutOctets of the lines IpExt in
// /proc/net/netstat: the first has the names, the second the values.
func parseOctets(data []byte) (in, out float64, ok bool) {
	const table = "\nIpExt: "
	_, rest, _ := bytes.Cut(data, []byte(table))
	names, rest, _ := bytes.Cut(rest, []byte(table))
	values, _, _ := bytes.Cut(rest, []byte("\n"))
	found := 0
	for len(names) > 0 && len(values) > 0 {
		var name, value []byte
		name, names, _ = bytes.Cut(names, []byte(" "))
		value, values, _ = bytes.Cut(values, []byte(" "))
		var target *float64
		switch string(name) {
		case "InOctets":
			target = &in
		case "OutOctets":
			target = &out
		default:
			continue
		}
		n, err := strconv.ParseUint(string(value), 10, 64)
		if err != nil {
			return 0, 0, false
		}
		*target = float64(n)
		found++
	}
	return in, out, found == 2
}
