package container

import (
	"bytes"
	"encoding/binary"
	"io/fs"

	"golang.org/x/sys/unix"
)

// entry is what a directory says of one of its entries.
type entry struct {
	name []byte // valid during the call
	dir  bool
}

// entries calls each for what is in a directory, in the kernel's order, and
// gives the directory's descriptor for calls that go by name. Unlike os.ReadDir
// it makes nothing that has to be collected: the entries of directories are
// read most often, those of /proc/PID/fd at each scrape.
func (r *reader) entries(dir string, each func(fd int, e entry)) error {
	fd, err := retry(func() (int, error) { return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(fd) }() // read-only
	if r.names == nil {
		r.names = make([]byte, 8<<10)
	}
	for {
		n, err := retry(func() (int, error) { return unix.ReadDirent(fd, r.names) })
		if err != nil {
			return &fs.PathError{Op: "readdir", Path: dir, Err: err}
		}
		if n <= 0 {
			return nil
		}
		for rest := r.names[:n]; ; {
			var e entry
			var ok bool
			if e, rest, ok = nextEntry(rest); !ok {
				break
			}
			if string(e.name) != "." && string(e.name) != ".." {
				each(fd, e)
			}
		}
	}
}

// nextEntry takes a struct linux_dirent64 off what getdents64(2) gives: inode
// and offset of 8 bytes each, the length of the record in 2, the type in 1, and
// the name with a zero at its end.
func nextEntry(data []byte) (e entry, rest []byte, ok bool) {
	const length, kind, name = 16, 18, 19
	if len(data) < name {
		return entry{}, nil, false
	}
	size := int(binary.NativeEndian.Uint16(data[length:]))
	if size < name || size > len(data) {
		return entry{}, nil, false
	}
	e = entry{name: data[name:size], dir: data[kind] == unix.DT_DIR}
	if end := bytes.IndexByte(e.name, 0); end >= 0 {
		e.name = e.name[:end]
	}
	return e, data[size:], true
}
