package container

import (
	"bytes"
	"math/bits"
	"strconv"
	"strings"
)

// parseNodeMemory reads meminfo of a NUMA node, lines "Node 0 MemTotal: 1 kB",
// in bytes.
func parseNodeMemory(data []byte) (float64, error) {
	_, rest, _ := bytes.Cut(data, []byte("MemTotal:"))
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	number, ok := bytes.CutSuffix(bytes.TrimSpace(line), []byte(" kB"))
	kilo, ok2 := digits(number)
	if !ok || !ok2 {
		return 0, formatError("a line of MemTotal", data)
	}
	return float64(kilo) * 1024, nil
}

// parseFloats reads numbers between blanks.
func parseFloats(data []byte) ([]float64, error) {
	var out []float64
	for _, f := range bytes.Fields(data) {
		n, ok := digits(f)
		if !ok {
			return nil, formatError("numbers", data)
		}
		out = append(out, float64(n))
	}
	return out, nil
}

// parseCacheSize reads a size such as 32K, in bytes.
func parseCacheSize(data []byte) (float64, error) {
	number, ok := bytes.CutSuffix(bytes.TrimSpace(data), []byte("K"))
	n, ok2 := digits(number)
	if !ok || !ok2 {
		return 0, formatError("a number and K", data)
	}
	return float64(n) * 1024, nil
}

// parseCPUMap counts the bits of a mask of processors, hexadecimal numbers with
// commas.
func parseCPUMap(data []byte) (int, error) {
	count := 0
	for part := range bytes.SplitSeq(bytes.TrimSpace(data), []byte{','}) {
		n, err := strconv.ParseUint(string(part), 16, 64)
		if err != nil {
			return 0, formatError("a mask of processors", data)
		}
		count += bits.OnesCount64(n)
	}
	return count, nil
}

// parsePSI reads a pressure file: the totals of some and full, in microseconds.
// Old kernels have no line of full for the CPU.
func parsePSI(data []byte) ([2]uint64, error) {
	var out [2]uint64
	found := false
	for line := range bytes.Lines(data) {
		kind, rest, _ := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
		_, total, _ := bytes.Cut(rest, []byte("total="))
		n, ok := digits(total)
		switch {
		case !ok:
			return out, formatError("some avg10=... total=NUMBER", line)
		case string(kind) == "some":
			out[0], found = n, true
		case string(kind) == "full":
			out[1] = n
		}
	}
	if !found {
		return out, formatError("a line of some", data)
	}
	return out, nil
}

// parsePerCPU reads cpuacct.usage_percpu, nanoseconds of each processor.
func parsePerCPU(data []byte) ([]float64, error) { return parseFloats(data) }

// numaPage is the pages of one type on one node.
type numaPage struct {
	kind, scope, node string
	pages             float64
}

// parseNuma reads memory.numa_stat of cgroup v1, lines such as
// "hierarchical_file=5 N0=3 N1=2".
func parseNuma(data []byte) ([]numaPage, error) {
	var out []numaPage
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 {
			continue
		}
		name, _, ok := strings.Cut(fields[0], "=")
		if !ok {
			continue // numa_locality and its like, of other kernels
		}
		kind, below := strings.CutPrefix(name, "hierarchical_")
		scope := "container"
		if below {
			scope = "hierarchy"
		}
		if kind != "file" && kind != "anon" && kind != "unevictable" {
			continue
		}
		for _, f := range fields[1:] {
			node, pages, _ := strings.Cut(strings.TrimPrefix(f, "N"), "=")
			n, ok := digits([]byte(pages))
			if _, isNumber := digits([]byte(node)); !ok || !isNumber {
				return nil, formatError("N0=PAGES", line)
			}
			out = append(out, numaPage{kind: kind, scope: scope, node: node, pages: float64(n)})
		}
	}
	return out, nil
}

// deviceID is a block device by its numbers.
type deviceID struct{ major, minor uint64 }

func parseDeviceID(s []byte) (deviceID, bool) {
	major, minor, _ := bytes.Cut(s, []byte{':'})
	a, ok := digits(major)
	b, ok2 := digits(minor)
	return deviceID{a, b}, ok && ok2
}

// parseBlkio hands over the lines "8:0 Read 42" of a blkio file of cgroup v1;
// in some the operation is missing, it is empty then. The line of the total of
// all devices is left out.
func parseBlkio(data []byte, add func(d deviceID, operation string, n uint64)) error {
	for line := range bytes.Lines(data) {
		fields := bytes.Fields(line)
		if len(fields) == 2 && string(fields[0]) == "Total" || len(fields) == 0 {
			continue
		}
		d, ok := parseDeviceID(fields[0])
		n, ok2 := digits(fields[len(fields)-1])
		if !ok || !ok2 || len(fields) > 3 || len(fields) < 2 {
			return formatError("MAJOR:MINOR OPERATION NUMBER", line)
		}
		operation := ""
		if len(fields) == 3 {
			operation = operationName(fields[1])
		}
		add(d, operation, n)
	}
	return nil
}

// operationName is string(b) without an allocation for the kernel's own words.
func operationName(b []byte) string {
	for _, name := range [...]string{"Read", "Write", "Sync", "Async", "Discard", "Total"} {
		if string(b) == name {
			return name
		}
	}
	return string(b)
}

// parseIOStat hands over the numbers of io.stat of cgroup v2, lines
// "8:0 rbytes=1 wbytes=2 ...". A device without any is a line of its own.
func parseIOStat(data []byte, add func(d deviceID, key []byte, n uint64)) error {
	for line := range bytes.Lines(data) {
		fields := bytes.Fields(line)
		if len(fields) < 2 {
			continue
		}
		d, ok := parseDeviceID(fields[0])
		if !ok {
			return formatError("MAJOR:MINOR KEY=NUMBER", line)
		}
		for _, f := range fields[1:] {
			key, number, ok := bytes.Cut(f, []byte{'='})
			if n, isNumber := digits(number); ok && isNumber {
				add(d, key, n)
			}
		}
	}
	return nil
}

// parseTCP counts the sockets of /proc/net/tcp in each state, by the state's
// number less one.
func parseTCP(data []byte) ([11]uint64, error) {
	var out [11]uint64
	_, data, _ = bytes.Cut(data, []byte{'\n'})
	for line := range bytes.Lines(data) {
		fields := bytes.Fields(line)
		if len(fields) < 4 {
			return out, formatError("a line of a socket", line)
		}
		state, err := strconv.ParseUint(string(fields[3]), 16, 8)
		switch {
		case err != nil || state == 0:
			return out, formatError("the state of a socket", fields[3])
		case state <= uint64(len(out)): // 0C is a request that is not yet a socket
			out[state-1]++
		}
	}
	return out, nil
}

// udpSockets is what /proc/net/udp says in all.
type udpSockets struct{ sockets, dropped, received, sent uint64 }

func parseUDP(data []byte) (udpSockets, error) {
	var out udpSockets
	_, data, _ = bytes.Cut(data, []byte{'\n'})
	for line := range bytes.Lines(data) {
		fields := bytes.Fields(line)
		if len(fields) != 13 {
			return out, formatError("a line of a socket", line)
		}
		tx, rx, _ := strings.Cut(string(fields[4]), ":")
		sent, err := strconv.ParseUint(tx, 16, 64)
		received, err2 := strconv.ParseUint(rx, 16, 64)
		dropped, ok := digits(fields[12])
		if err != nil || err2 != nil || !ok {
			return out, formatError("the queues of a socket", line)
		}
		out.sockets++
		out.dropped += dropped
		out.received += received
		out.sent += sent
	}
	return out, nil
}

// parseAdvanced reads Tcp or TcpExt of /proc/net/snmp or netstat: a line of
// names and one of numbers below it. The names are in lower case.
func parseAdvanced(data []byte) (map[string]float64, error) {
	out := map[string]float64{}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, numbers := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		if len(names) == 0 || len(numbers) != len(names) || names[0] != numbers[0] {
			return nil, formatError("a line of names and one of numbers", []byte(lines[i]))
		}
		if names[0] != "Tcp:" && names[0] != "TcpExt:" {
			continue
		}
		for n := 1; n < len(names); n++ {
			v, err := strconv.ParseInt(numbers[n], 10, 64)
			if err != nil {
				return nil, formatError("a number", []byte(numbers[n]))
			}
			out[strings.ToLower(names[n])] = float64(v)
		}
	}
	return out, nil
}

// parseMaxFiles reads the soft limit of open files of /proc/PID/limits, -1 for
// unlimited.
func parseMaxFiles(data []byte) (float64, error) {
	_, rest, ok := bytes.Cut(data, []byte("Max open files"))
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	fields := bytes.Fields(line)
	if !ok || len(fields) != 3 {
		return 0, formatError("a line of Max open files", line)
	}
	if string(fields[0]) == "unlimited" {
		return -1, nil
	}
	n, ok := digits(fields[0])
	if !ok {
		return 0, formatError("a limit", line)
	}
	return float64(n), nil
}

// parseAllPIDs gives the processes of cgroup.procs, those of other PID
// namespaces left out of the list and counted all the same.
func parseAllPIDs(data []byte) (pids []int, err error) {
	for line := range bytes.Lines(data) {
		n, ok := digits(bytes.TrimSpace(line))
		if !ok || n > 1<<31-1 {
			return nil, formatError("a process id", line)
		}
		pids = append(pids, int(n))
	}
	return pids, nil
}

// parseSchedstat reads /proc/PID/schedstat: time on a processor and time
// waiting for one, in nanoseconds, and times put on one.
func parseSchedstat(data []byte) ([3]float64, error) {
	fields, err := parseFloats(data)
	if err != nil || len(fields) != 3 {
		return [3]float64{}, formatError("three numbers", data)
	}
	return [3]float64(fields), nil
}

// parseReferenced sums up the lines of Referenced of /proc/PID/smaps_rollup, in
// bytes.
func parseReferenced(data []byte) (float64, error) {
	var sum float64
	for line := range bytes.Lines(data) {
		rest, ok := bytes.CutPrefix(line, []byte("Referenced:"))
		if !ok {
			continue
		}
		number, ok := bytes.CutSuffix(bytes.TrimSpace(rest), []byte(" kB"))
		n, ok2 := digits(number)
		if !ok || !ok2 {
			return 0, formatError("Referenced: NUMBER kB", line)
		}
		sum += float64(n) * 1024
	}
	return sum, nil
}
