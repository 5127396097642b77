package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// rpcStats exposes a file of /proc/net/rpc, whose lines are a word and numbers,
// see net/sunrpc/stats.c, fs/nfs and fs/nfsd/stats.c of the kernel.
type rpcStats struct {
	path     string
	reader   reader
	lines    []rpcLine
	values   []uint64 // what those of the lines are parts of
	shapes   map[string]rpcShape
	samples  []rpcSample
	families []*metric.Family
}

// rpcLine is a line of the file.
type rpcLine struct {
	word   []byte
	values []uint64
}

// rpcShape is what is known of a line.
type rpcShape struct {
	// least is the number of values that a line has at least.
	least int
	// counted says that the first value is the number of those that follow.
	counted bool
}

// rpcSample is a sample and where its value stands. What the file does not
// hold is 0, as in a kernel that counts it but was never asked.
type rpcSample struct {
	word   string
	place  int
	family *metric.Family
	labels []string
}

// add declares a family of one sample.
func (c *rpcStats) add(word string, place int, f *metric.Family) {
	c.families = append(c.families, f)
	c.samples = append(c.samples, rpcSample{word, place, f, nil})
}

// addLabeled declares a sample of a family that has more.
func (c *rpcStats) addLabeled(word string, place int, f *metric.Family, labels ...string) {
	c.samples = append(c.samples, rpcSample{word, place, f, labels})
}

// addMethods declares a sample for each method of a protocol, in the order of
// the line behind the number of them; those called - are not exposed.
func (c *rpcStats) addMethods(word, protocol, methods string, f *metric.Family) {
	for i, method := range strings.Fields(methods) {
		if method != "-" {
			c.samples = append(c.samples, rpcSample{word, i + 1, f, []string{protocol, method}})
		}
	}
}

// The methods of NFS 2 and 3, see RFC 1094 and RFC 1813; the client of Linux
// has its own order of those of NFS 4, in include/linux/nfs4.h.
const (
	nfs2Methods = " GetAttr SetAttr Root Lookup ReadLink Read WrCache Write Create Remove Rename Link SymLink MkDir RmDir ReadDir FsStat"
	nfs3Methods = " GetAttr SetAttr Lookup Access ReadLink Read Write Create MkDir SymLink MkNod Remove RmDir Rename Link ReadDir" +
		" ReadDirPlus FsStat FsInfo PathConf Commit"
	nfs4Methods = "Null Read Write Commit Open OpenConfirm OpenNoattr OpenDowngrade Close Setattr FsInfo Renew SetClientID" +
		" SetClientIDConfirm Lock Lockt Locku Access Getattr Lookup LookupRoot Remove Rename Link Symlink Create Pathconf StatFs" +
		" ReadLink ReadDir ServerCaps DelegReturn GetACL SetACL FsLocations ReleaseLockowner Secinfo FsidPresent ExchangeID" +
		" CreateSession DestroySession Sequence GetLeaseTime ReclaimComplete GetDeviceInfo LayoutGet LayoutCommit LayoutReturn" +
		" SecinfoNoName TestStateID FreeStateID GetDeviceList BindConnToSession DestroyClientID Seek Allocate DeAllocate" +
		" LayoutStats Clone"
)

func newNFS(o *Options) collect.Collector {
	c := &rpcStats{path: o.procPath("net", "rpc", "nfs"), shapes: map[string]rpcShape{
		"net":   {least: 4},
		"rpc":   {least: 3},
		"proc2": {least: 19, counted: true},
		"proc3": {least: 23, counted: true},
		"proc4": {least: 1, counted: true},
	}}
	packets := metric.NewCounter("node_nfs_packets_total", "Network packets of the NFS client by protocol.", "protocol")
	requests := metric.NewCounter("node_nfs_requests_total", "Number of NFS procedures invoked.", "proto", "method")
	c.families = []*metric.Family{packets, requests}
	c.addLabeled("net", 1, packets, "udp")
	c.addLabeled("net", 2, packets, "tcp")
	c.add("net", 3, metric.NewCounter("node_nfs_connections_total", "TCP connections of the NFS client."))
	c.add("rpc", 0, metric.NewCounter("node_nfs_rpcs_total", "Number of RPCs performed."))
	c.add("rpc", 1, metric.NewCounter("node_nfs_rpc_retransmissions_total", "Number of RPC retransmissions performed."))
	c.add("rpc", 2, metric.NewCounter("node_nfs_rpc_authentication_refreshes_total",
		"Number of RPC authentication refreshes performed."))
	c.addMethods("proc2", "2", "Null"+nfs2Methods, requests)
	c.addMethods("proc3", "3", "Null"+nfs3Methods, requests)
	c.addMethods("proc4", "4", nfs4Methods, requests)
	return c
}

// Families implements collect.Collector.
func (c *rpcStats) Families() []*metric.Family { return c.families }

// Collect implements collect.Collector.
func (c *rpcStats) Collect(_ context.Context, b *metric.Batch) error {
	data, err := c.reader.read(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", c.path, collect.ErrNoData)
	}
	if err != nil {
		return err
	}
	err = c.parse(c.path, data)
	for _, s := range c.samples {
		// When lines are missing for an error, 0 would look like a restart.
		if v, found := c.value(s.word, s.place); found || err == nil {
			b.Add(s.family, float64(v), s.labels...)
		}
	}
	return err
}

// value of a line; found tells whether there is the line.
func (c *rpcStats) value(word string, place int) (v uint64, found bool) {
	for _, l := range c.lines {
		if string(l.word) != word {
			continue
		}
		if place < len(l.values) {
			v = l.values[place]
		}
		return v, true
	}
	return 0, false
}

// parse reads all lines. Words that are not known, and values behind those that
// are, are left for newer kernels.
func (c *rpcStats) parse(path string, data []byte) error {
	c.lines, c.values = c.lines[:0], c.values[:0]
	l := newLines(path, data)
	for l.next() {
		word, rest := field(l.line)
		shape, ok := c.shapes[string(word)]
		if !ok {
			continue
		}
		start := len(c.values)
		for {
			var f []byte
			if f, rest = field(rest); len(f) == 0 {
				break
			}
			v, err := parseUint(f)
			if err != nil && len(c.values)-start < shape.least {
				return l.errorf("%s: %s is not a number", word, quote(f))
			}
			if err != nil {
				break // such as the fractions behind the threads of a server
			}
			c.values = append(c.values, v)
		}
		values := c.values[start:len(c.values):len(c.values)]
		if len(values) < shape.least {
			return l.errorf("%s has %d values, at least %d are expected", word, len(values), shape.least)
		}
		if shape.counted && values[0] != uint64(len(values)-1) {
			return l.errorf("%s has %d values, %d are announced", word, len(values)-1, values[0])
		}
		c.lines = append(c.lines, rpcLine{word, values})
	}
	return l.end()
}
