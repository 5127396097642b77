package node

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// errSyntax is what every error about the content of a kernel file is.
var errSyntax = errors.New("unexpected content")

// maxFileSize bounds what is read of a kernel file. The longest in practice,
// mountinfo of a host with 10,000 mounts, has 2 MB.
const maxFileSize = 64 << 20

// reader reads small kernel files into memory that it keeps. It calls the
// kernel directly: a file of the os package would cost two more calls for the
// poller, which kernel files do not work with.
type reader struct {
	buf []byte
	// kept are the descriptors of keep by path; nil for a file that is opened
	// for each read.
	kept map[string]*descriptor
}

// read gives the whole file, valid until the next call.
func (r *reader) read(path string) ([]byte, error) {
	fd, err := ignoringEINTR(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	return r.fill(path, fd, false, 0)
}

// keep is read for a file that is read at every scrape: its descriptor stays
// open, which saves walking the path. That is right for files that the kernel
// makes anew at each read, so only those are kept; one that fails, since its
// module is gone, is opened anew.
//
// longest bounds a line of a file whose end is expensive to find, since the
// kernel searches all of its table to see that nothing more is there: what ends
// with room for one more line was all. 0 reads until there is no more.
func (r *reader) keep(path string, longest int) ([]byte, error) {
	d, known := r.kept[path]
	if d != nil {
		if data, err := r.fill(path, d.fd, true, longest); err == nil {
			return data, nil
		}
		d.close()
		r.kept[path] = nil
	}
	data, err := r.read(path)
	if err == nil && !known {
		if r.kept == nil {
			r.kept = map[string]*descriptor{}
		}
		r.kept[path] = openKernelFile(path)
	}
	return data, err
}

// kernelRoom is the least room that the kernel has for the lines of a read, see
// fs/seq_file.c: it gives fewer only where they end.
const kernelRoom = 4096

// fill reads a file to its end, from the start where again is set.
func (r *reader) fill(path string, fd int, again bool, longest int) ([]byte, error) {
	if r.buf == nil {
		r.buf = make([]byte, 0, kernelRoom)
	}
	r.buf = r.buf[:0]
	for {
		if len(r.buf) == cap(r.buf) {
			r.buf = append(r.buf, 0)[:len(r.buf)]
		}
		n, err := ignoringEINTR(func() (int, error) {
			if again {
				return unix.Pread(fd, r.buf[len(r.buf):cap(r.buf)], int64(len(r.buf)))
			}
			return unix.Read(fd, r.buf[len(r.buf):cap(r.buf)])
		})
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if r.buf = r.buf[:len(r.buf)+n]; n == 0 || longest > 0 && len(r.buf)+longest <= kernelRoom {
			return r.buf, nil
		}
		if len(r.buf) > maxFileSize {
			return nil, fmt.Errorf("reading %s: longer than %d bytes: %w", path, maxFileSize, errSyntax)
		}
	}
}

// openKernelFile opens a file of /proc or /sys, nil when it is on another file
// system: what is there may be replaced by another of the same name.
func openKernelFile(path string) *descriptor {
	fd, err := ignoringEINTR(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil
	}
	var s unix.Statfs_t
	if err := unix.Fstatfs(fd, &s); err != nil || s.Type != unix.PROC_SUPER_MAGIC && s.Type != unix.SYSFS_MAGIC {
		_ = unix.Close(fd)
		return nil
	}
	return newDescriptor(fd)
}

// descriptor is one that is used over many scrapes. It is closed with its owner:
// an exporter has no end of its own.
type descriptor struct {
	fd      int
	cleanup runtime.Cleanup
}

func newDescriptor(fd int) *descriptor {
	d := &descriptor{fd: fd}
	d.cleanup = runtime.AddCleanup(d, func(fd int) { _ = unix.Close(fd) }, fd)
	return d
}

func (d *descriptor) close() {
	d.cleanup.Stop()
	_ = unix.Close(d.fd)
}

func ignoringEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// lines walks over the lines of a kernel file and knows where it is.
type lines struct {
	path string
	rest []byte
	n    int // number of the line given last, from 1
	line []byte
	// open says that the last line may lack its newline.
	open bool
}

func newLines(path string, data []byte) *lines { return &lines{path: path, rest: data} }

// newOpenLines is newLines for files in which a cut is not told from an end,
// since people write them too.
func newOpenLines(path string, data []byte) *lines { return &lines{path: path, rest: data, open: true} }

// next goes to the next line. The kernel ends each with a newline: one without
// is what a file looks like that was cut off, see end.
func (l *lines) next() bool {
	i := bytes.IndexByte(l.rest, '\n')
	if i < 0 {
		if !l.open || len(l.rest) == 0 {
			return false
		}
		l.line, l.rest = l.rest, nil
		l.n++
		return true
	}
	l.line, l.rest = l.rest[:i], l.rest[i+1:]
	l.n++
	return true
}

// nextOrRest goes to the next line, and takes what stands behind the last
// newline for a line too: for files that are not always read from a kernel, and
// whose lines tell by themselves whether they are whole.
func (l *lines) nextOrRest() bool {
	if l.next() {
		return true
	}
	if len(l.rest) == 0 {
		return false
	}
	l.line, l.rest = l.rest, nil
	l.n++
	return true
}

// end reports a file that was empty or cut off, after next said no.
func (l *lines) end() error {
	switch {
	case len(l.rest) > 0:
		l.n++
		return l.errorf("the line has no end, the file was cut off after %s", quote(l.rest))
	case l.n == 0:
		l.n++
		return l.errorf("the file is empty")
	default:
		return nil
	}
}

// errorf makes an error that starts with file and line.
func (l *lines) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w: %w", l.path, l.n, errSyntax, fmt.Errorf(format, args...))
}

// quote shows text from a file in an error, whatever and however long it is.
func quote(s []byte) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q and %d more bytes", s[:most], len(s)-most)
	}
	return fmt.Sprintf("%q", s)
}

// field takes the first field, bounded by spaces and tabs, off a line. It is
// empty when there is none.
func field(line []byte) (first, rest []byte) {
	i := 0
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	j := i
	for j < len(line) && line[j] != ' ' && line[j] != '\t' {
		j++
	}
	return line[i:j], line[j:]
}

// parseUint reads a decimal number. It does not allocate for right ones.
func parseUint(s []byte) (uint64, error) { return strconv.ParseUint(string(s), 10, 64) }

// parseInt reads a decimal number with or without a sign.
func parseInt(s []byte) (int64, error) { return strconv.ParseInt(string(s), 10, 64) }

// parseUints reads the numbers of a line into dst, which bounds them, and
// gives how many there were.
func parseUints(line []byte, dst []uint64) (int, error) {
	for n := range dst {
		var f []byte
		if f, line = field(line); len(f) == 0 {
			return n, nil
		}
		v, err := parseUint(f)
		if err != nil {
			return n, fmt.Errorf("%s is not a number", quote(f))
		}
		dst[n] = v
	}
	return len(dst), nil
}

// hasPrefix is bytes.HasPrefix for a prefix in the source.
func hasPrefix(s []byte, prefix string) bool {
	return len(s) >= len(prefix) && string(s[:len(prefix)]) == prefix
}

// names keeps the text of names that come again at every scrape.
type names map[string]string

// text gives the name as a string, which outlives raw.
func (n names) text(raw []byte) string {
	if s, ok := n[string(raw)]; ok {
		return s
	}
	if len(n) >= maxKnown {
		clear(n)
	}
	s := string(raw)
	n[s] = s
	return s
}

// numbers keeps the text of small numbers: processors, orders of pages.
type numbers []string

// text gives the decimal form of i, which is not negative.
func (n *numbers) text(i int) string {
	if i >= maxCPUs {
		return strconv.Itoa(i)
	}
	for len(*n) <= i {
		*n = append(*n, strconv.Itoa(len(*n)))
	}
	return (*n)[i]
}
