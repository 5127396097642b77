package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/strata-metrics/strata/internal/collect"
)

// An attribute is a file of sysfs or procfs that holds one value, see
// Documentation/filesystems/sysfs.rst of the kernel.

// text reads an attribute without the white space around it. It is valid until
// the next call of the reader.
func (r *reader) text(path string) ([]byte, error) {
	data, err := r.read(path)
	return bytes.TrimSpace(data), err
}

// uint reads an attribute that is a decimal number.
func (r *reader) uint(path string) (uint64, error) {
	data, err := r.text(path)
	if err != nil {
		return 0, err
	}
	v, err := parseUint(data)
	if err != nil {
		return 0, fmt.Errorf("%s:1: %w: %s is not a number", path, errSyntax, quote(data))
	}
	return v, nil
}

// int reads an attribute that is a decimal number with or without a sign.
func (r *reader) int(path string) (int64, error) {
	data, err := r.text(path)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s:1: %w: %s is not a number", path, errSyntax, quote(data))
	}
	return v, nil
}

// absent tells whether an attribute is not there, or there without a value:
// drivers answer so for what their hardware lacks.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) ||
		errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EIO)
}

// noPermission makes what this user must not see to no data.
func noPermission(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w", collect.ErrNoData, err)
	}
	return err
}

// entries lists the names in a directory, sorted. One that is not there is
// collect.ErrNoData: the kernel has no such subsystem or the host no such device.
func entries(dir string) ([]string, error) {
	fd, err := ignoringEINTR(func() (int, error) { return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, collect.ErrNoData)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var names []string
	var buf [4096]byte
	for {
		n, err := ignoringEINTR(func() (int, error) { return unix.ReadDirent(fd, buf[:]) })
		if err != nil {
			return names, fmt.Errorf("listing %s: %w", dir, err)
		}
		if n == 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// parseCPUList reads a list such as 0-3,8 and gives each number, rising as
// they stand there. The list of nothing is an empty line.
func parseCPUList(path string, data []byte) ([]int, error) {
	l := newLines(path, data)
	if !l.next() {
		return nil, l.end()
	}
	var ids []int
	if len(l.line) == 0 {
		return nil, nil
	}
	for part := range strings.SplitSeq(string(l.line), ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || first < 0 || last < first || last >= maxCPUs || len(ids) > maxCPUs {
			return nil, l.errorf("%s is not a range of processors", quote([]byte(part)))
		}
		for id := first; id <= last; id++ {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
