package node

import (
	"bytes"
	"fmt"
)

// nfsMount is what /proc/self/mountstats says of an NFS mount.
type nfsMount struct {
	export, point, fsType string // as they stand there: node_exporter does not unescape them
	age                   uint64 // seconds
	bytes                 [nfsBytes]uint64
	events                [nfsEvents]uint64
	transports            []nfsTransport
	operations            []nfsOperation
}

// nfsTransport is a connection to the server.
type nfsTransport struct {
	protocol string
	values   [nfsTransportValues]uint64
}

// nfsOperation is a procedure of the protocol.
type nfsOperation struct {
	name   string
	values [nfsOperationValues]uint64
}

const (
	nfsBytes  = 8
	nfsEvents = 27
	// minNFSEvents came before those about pNFS, which Linux 3.1 added.
	minNFSEvents       = 25
	nfsTransportValues = 10
	nfsOperationValues = 8
	// nfsQueueTime is the first of the three operation values that are times.
	nfsQueueTime = 5
	// nfsWrap bounds times, which the kernel lets fall below zero and shows
	// without a sign: node_exporter takes them modulo the numbers that a
	// float64 holds exactly.
	nfsWrap = 1 << 53
)

// Places in nfsTransport.values that are not counters.
const (
	nfsIdle  = 2
	nfsSlots = 7
)

// described is the name of a family without its prefix, and its help.
type described struct{ name, help string }

// nfsByteFamilies are in the order of the line bytes.
func nfsByteFamilies() [nfsBytes]described {
	return [nfsBytes]described{
		{"read_bytes_total", "Bytes that applications read by read()."},
		{"write_bytes_total", "Bytes that applications wrote by write()."},
		{"direct_read_bytes_total", "Bytes that applications read past the page cache, with O_DIRECT."},
		{"direct_write_bytes_total", "Bytes that applications wrote past the page cache, with O_DIRECT."},
		{"total_read_bytes_total", "Bytes that the client read from the server."},
		{"total_write_bytes_total", "Bytes that the client wrote to the server."},
		{"read_pages_total", "Pages read into the page cache."},
		{"write_pages_total", "Pages written from the page cache."},
	}
}

// nfsEventFamilies are in the order of the line events. That about congestion
// is not exposed: it stands still since Linux 2.6.
func nfsEventFamilies() [nfsEvents]described {
	return [nfsEvents]described{
		{"inode_revalidate", "Cached attributes of an inode were checked with the server."},
		{"dnode_revalidate", "Cached directory entries were checked with the server."},
		{"data_invalidate", "The cached content of an inode was thrown away."},
		{"attribute_invalidate", "The cached attributes of an inode were thrown away."},
		{"vfs_open", "Files and directories were opened."},
		{"vfs_lookup", "Names were looked up in a directory."},
		{"vfs_access", "Permissions were checked."},
		{"vfs_update_page", "Pages were changed, which may lead to writes."},
		{"vfs_read_page", "Single pages were read."},
		{"vfs_read_pages", "Groups of pages were read."},
		{"vfs_write_page", "Single pages were written."},
		{"vfs_write_pages", "Groups of pages were written."},
		{"vfs_getdents", "Directories were read by getdents()."},
		{"vfs_setattr", "Attributes of an inode were set."},
		{"vfs_flush", "Pending writes were sent to the server when a file was closed."},
		{"vfs_fsync", "Files and directories were synchronised by fsync()."},
		{"vfs_lock", "Locks on a file were asked for."},
		{"vfs_file_release", "Files were closed for the last time."},
		{},
		{"truncation", "Files were cut off."},
		{"write_extension", "Files grew by a write behind their end."},
		{"silly_rename", "Files were removed while they were open, and renamed until they are closed."},
		{"short_read", "The server gave less than was asked for."},
		{"short_write", "The server took less than was sent."},
		{"jukebox_delay", "The server answered EJUKEBOX: the data has yet to come from slow storage."},
		{"pnfs_read", "Reads by pNFS, from NFS 4.1."},
		{"pnfs_write", "Writes by pNFS, from NFS 4.1."},
	}
}

func nfsTransportFamilies() [nfsTransportValues]described {
	return [nfsTransportValues]described{
		{"bind_total", "Connections begun from a port that had to be bound first."},
		{"connect_total", "Connections made to the server."},
		{"idle_time_seconds", "Seconds since the connection was last used."},
		{"sends_total", "Requests sent to the server."},
		{"receives_total", "Answers of the server."},
		{"bad_transaction_ids_total", "Answers of the server to a request that is not known."},
		{"backlog_queue_total", "Sum of the lengths of the backlog queue at each request."},
		{"maximum_rpc_slots", "The most requests that were ever under way at once."},
		{"sending_queue_total", "Sum of the lengths of the sending queue at each request."},
		{"pending_queue_total", "Sum of the lengths of the queue of unanswered requests at each request."},
	}
}

// nfsTransportPlaces says where the values of nfsTransport stand in the line of
// a protocol behind its name; -1 is a value that the protocol does not have. See
// the functions named print_stats in net/sunrpc of the kernel.
func nfsTransportPlaces(protocol []byte) (places [nfsTransportValues]int, least int, ok bool) {
	switch string(protocol) {
	case "tcp":
		return [...]int{1, 2, 4, 5, 6, 7, 9, 10, 11, 12}, 10, true
	case "udp":
		return [...]int{1, -1, -1, 2, 3, 4, 6, 7, 8, 9}, 7, true
	case "rdma":
		return [...]int{1, 2, 4, 5, 6, 7, 9, -1, -1, -1}, 10, true
	}
	return places, 0, false
}

// nfsOperationFamilies are in the order of the columns.
func nfsOperationFamilies() [nfsOperationValues]described {
	return [nfsOperationValues]described{
		{"requests", "Requests of an operation."},
		{"transmissions", "Times that requests of an operation were sent, with those sent again."},
		{"major_timeouts", "Requests of an operation that were not answered within the longest time."},
		{"sent_bytes", "Bytes sent for an operation, headers included."},
		{"received_bytes", "Bytes received for an operation, headers included."},
		{"queue_time_seconds", "Seconds that requests of an operation waited to be sent."},
		{"response_time_seconds", "Seconds between the sending of requests of an operation and their answers."},
		{"request_time_seconds", "Seconds that requests of an operation took in all."},
	}
}

// parseMountstats reads the NFS mounts, up to the first wrong line. Other file
// systems have no statistics there.
func parseMountstats(path string, data []byte) ([]nfsMount, error) {
	var all []nfsMount
	l := newLines(path, data)
	operations := false
	var m *nfsMount // nil between the mounts that have statistics
	for l.next() {
		word, rest := field(l.line)
		var err error
		switch {
		case len(word) == 0:
			m = nil
		case string(word) == "device":
			if m, err = parseNFSDevice(rest); m != nil {
				all = append(all, *m)
				m = &all[len(all)-1]
			}
			operations = false
		case m == nil:
		case string(word) == "per-op":
			operations = true
		case operations:
			err = m.parseOperation(word, rest)
		default:
			err = m.parseLine(word, rest)
		}
		if err != nil {
			return all, l.errorf("%w", err)
		}
	}
	return all, l.end()
}

// parseNFSDevice reads the line that begins a mount: the device, mounted on a
// point, with fstype and the type. It gives nil for other types than NFS.
func parseNFSDevice(rest []byte) (*nfsMount, error) {
	var f [7][]byte
	for i := range f {
		f[i], rest = field(rest)
	}
	if string(f[1]) != "mounted" || string(f[2]) != "on" || string(f[4]) != "with" || string(f[5]) != "fstype" || len(f[6]) == 0 {
		return nil, fmt.Errorf("device %s is not said to be mounted with a type", quote(f[0]))
	}
	if version, _ := field(rest); string(f[6]) != "nfs" && string(f[6]) != "nfs4" || !hasPrefix(version, "statvers=") {
		return nil, nil
	}
	return &nfsMount{export: string(f[0]), point: string(f[3]), fsType: string(f[6])}, nil
}

// parseLine reads a line before those of the operations.
func (m *nfsMount) parseLine(word, rest []byte) (err error) {
	n, least := 0, 0
	switch string(word) {
	case "age:":
		var age [1]uint64
		n, err = parseUints(rest, age[:])
		least, m.age = len(age), age[0]
	case "bytes:":
		n, err = parseUints(rest, m.bytes[:])
		least = nfsBytes
	case "events:":
		n, err = parseUints(rest, m.events[:])
		least = minNFSEvents
	case "xprt:":
		err = m.parseTransport(rest)
	}
	if err != nil {
		return fmt.Errorf("%s %w", word, err)
	}
	if n < least {
		return fmt.Errorf("%s %d numbers, at least %d are expected", word, n, least)
	}
	return nil
}

func (m *nfsMount) parseTransport(rest []byte) error {
	protocol, rest := field(rest)
	places, least, ok := nfsTransportPlaces(protocol)
	if !ok {
		return fmt.Errorf("%s is not a protocol", quote(protocol))
	}
	var v [13]uint64
	n, err := parseUints(rest, v[:])
	if err != nil {
		return err
	}
	if n < least {
		return fmt.Errorf("%d numbers, at least %d are expected", n, least)
	}
	t := nfsTransport{protocol: string(protocol)}
	for i, place := range places {
		if place >= 0 {
			t.values[i] = v[place]
		}
	}
	t.values[nfsIdle] %= nfsWrap
	m.transports = append(m.transports, t)
	return nil
}

func (m *nfsMount) parseOperation(word, rest []byte) error {
	name, ok := bytes.CutSuffix(word, []byte(":"))
	if !ok || len(name) == 0 {
		return fmt.Errorf("%s is not the name of an operation", quote(word))
	}
	op := nfsOperation{name: string(name)}
	n, err := parseUints(rest, op.values[:])
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if n < nfsOperationValues {
		return fmt.Errorf("%s: %d numbers, at least %d are expected", name, n, nfsOperationValues)
	}
	for i := nfsQueueTime; i < nfsOperationValues; i++ {
		op.values[i] %= nfsWrap
	}
	m.operations = append(m.operations, op)
	return nil
}
