package container

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// errFormat is what every error of a parser is.
var errFormat = errors.New("unexpected content")

// shown bounds what an error quotes of a file that is not what it should be.
const shown = 40

func formatError(what string, data []byte) error {
	if len(data) > shown {
		data = data[:shown]
	}
	return fmt.Errorf("%w: want %s, got %q", errFormat, what, data)
}

// parseUint reads a file of one number. The word max, by which cgroup v2 says
// that there is no limit, is the greatest number.
func parseUint(data []byte) (uint64, error) {
	data = bytes.TrimSpace(data)
	if string(data) == "max" {
		return math.MaxUint64, nil
	}
	v, ok := digits(data)
	if !ok {
		return 0, formatError("a number", data)
	}
	return v, nil
}

// digits is strconv.ParseUint without the copy into a string.
func digits(data []byte) (uint64, bool) {
	if len(data) == 0 {
		return 0, false
	}
	var v uint64
	for _, c := range data {
		d := uint64(c - '0')
		if d > 9 || v > (math.MaxUint64-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	return v, true
}

// parseKeyed reads a file of lines "key value" and hands each to set. Nothing
// is handed over of a file with a line that is not of that form: half of it may
// be missing too. set must not keep the key.
func parseKeyed(data []byte, set func(key []byte, value uint64)) error {
	for _, hand := range []bool{false, true} {
		for rest := data; len(rest) > 0; {
			var line []byte
			line, rest, _ = bytes.Cut(rest, []byte{'\n'})
			key, number, _ := bytes.Cut(line, []byte{' '})
			if len(line) == 0 {
				continue
			}
			value, ok := digits(bytes.TrimSpace(number))
			if !ok || len(key) == 0 {
				return formatError("lines of a key and a number", line)
			}
			if hand {
				set(key, value)
			}
		}
	}
	return nil
}

// parseCPUMax reads cpu.max of cgroup v2, "QUOTA PERIOD" in microseconds, where
// the quota may be the word max. A quota of 0 means that there is none.
func parseCPUMax(data []byte) (quota, period uint64, err error) {
	first, second, _ := bytes.Cut(bytes.TrimSpace(data), []byte{' '})
	period, ok := digits(second)
	if ok && string(first) == "max" {
		return 0, period, nil
	}
	quota, ok2 := digits(first)
	if !ok || !ok2 {
		return 0, 0, formatError("a quota and a period", data)
	}
	return quota, period, nil
}

// parseQuota reads cpu.cfs_quota_us of cgroup v1, where -1 means that there is
// none, which is 0 here.
func parseQuota(data []byte) (uint64, error) {
	if data = bytes.TrimSpace(data); string(data) == "-1" {
		return 0, nil
	}
	return parseUint(data)
}

// sharesOfWeight turns cpu.weight of cgroup v2 (1 to 10000) into the shares of
// cgroup v1 (2 to 262144) that Kubernetes made it from (KEP-2254).
func sharesOfWeight(weight uint64) uint64 {
	if weight < 1 || weight > 10000 {
		return 0
	}
	return 2 + (weight-1)*262142/9999
}

// Interface is one network interface with its counters since it exists.
type Interface struct {
	Name     string
	Counters [netCounters]uint64
}

// The order of Interface.Counters.
const (
	rxBytes = iota
	rxPackets
	rxErrors
	rxDropped
	txBytes
	txPackets
	txErrors
	txDropped
	netCounters
)

// parseNetDev reads /proc/PID/net/dev. Interfaces that carry the traffic of
// others on the host or none of a network (lo, veth*, docker*, nerdctl*) are
// left out, as cAdvisor does. A file with a bad line gives nothing.
func parseNetDev(data []byte) ([]Interface, error) {
	const headers, columns = 2, 16
	var out []Interface
	for i := 0; len(data) > 0; i++ {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte{'\n'})
		if i < headers || len(line) == 0 {
			continue
		}
		// The last colon: names of aliases hold colons themselves.
		colon := bytes.LastIndexByte(line, ':')
		if colon < 0 {
			return nil, formatError("NAME: and numbers", line)
		}
		name, fields := bytes.TrimSpace(line[:colon]), bytes.Fields(line[colon+1:])
		if len(name) == 0 || len(fields) != columns {
			return nil, formatError("NAME: and 16 numbers", line)
		}
		one := Interface{Name: string(name)}
		for c := range one.Counters {
			// Receive: bytes packets errs drop fifo frame compressed
			// multicast; transmit begins at the ninth column.
			at := c + c/txBytes*4
			v, ok := digits(fields[at])
			if !ok {
				return nil, formatError("a counter", fields[at])
			}
			one.Counters[c] = v
		}
		if !ignoredInterface(one.Name) {
			out = append(out, one)
		}
	}
	return out, nil
}

func ignoredInterface(name string) bool {
	name = strings.ToLower(name)
	for _, prefix := range []string{"lo", "veth", "docker", "nerdctl"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// meminfo is what the root cgroup needs of /proc/meminfo, in bytes.
type meminfo struct {
	total, swapTotal, swapFree uint64
}

// parseMeminfo reads /proc/meminfo; without MemTotal it is an error.
func parseMeminfo(data []byte) (meminfo, error) {
	var m meminfo
	found := false
	for rest := data; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		key, value, _ := bytes.Cut(line, []byte{':'})
		var field *uint64
		switch string(key) {
		case "MemTotal":
			field = &m.total
		case "SwapTotal":
			field = &m.swapTotal
		case "SwapFree":
			field = &m.swapFree
		default:
			continue
		}
		number, ok := bytes.CutSuffix(bytes.TrimSpace(value), []byte(" kB"))
		kilo, ok2 := digits(number)
		if !ok || !ok2 || kilo > math.MaxUint64/1024 {
			return meminfo{}, formatError("NAME: NUMBER kB", line)
		}
		*field = kilo * 1024
		found = found || field == &m.total
	}
	if !found {
		return meminfo{}, formatError("a line of MemTotal", data)
	}
	return m, nil
}

// parsePIDs gives the first process of cgroup.procs, 0 when there is none. A
// process that lives outside of our PID namespace is written as 0.
func parsePIDs(data []byte) (int, error) {
	for rest := data; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		if len(line) == 0 {
			continue
		}
		pid, ok := digits(line)
		if !ok || pid > math.MaxInt32 {
			return 0, formatError("a process id", line)
		}
		if pid > 0 {
			return int(pid), nil
		}
	}
	return 0, nil
}

// parseBootTime reads the line btime of /proc/stat, in Unix seconds.
func parseBootTime(data []byte) (int64, error) {
	_, rest, ok := bytes.Cut(data, []byte("\nbtime "))
	number, _, _ := bytes.Cut(rest, []byte{'\n'})
	v, err := strconv.ParseInt(string(bytes.TrimSpace(number)), 10, 64)
	if !ok || err != nil || v < 0 {
		return 0, formatError("a line of btime", number)
	}
	return v, nil
}
