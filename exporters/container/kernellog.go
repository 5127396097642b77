package container

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelLog reads what the kernel has written to its log since the last time,
// when somebody asks: until then the kernel keeps it.
type kernelLog struct {
	fd  int
	buf []byte
}

// maxRecords bounds the records that are read at once; the kernel keeps fewer.
const maxRecords = 1 << 16

// openKernelLog opens /dev/kmsg at its end. It takes the capability SYSLOG where
// the kernel restricts it, and the device.
func openKernelLog(path string) (*kernelLog, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, fmt.Errorf("opening the kernel's log at %s: %w", path, err)
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		_ = unix.Close(fd) // nothing was read
		return nil, fmt.Errorf("finding the end of the kernel's log at %s: %w", path, err)
	}
	return &kernelLog{fd: fd, buf: make([]byte, 16<<10)}, nil
}

// victims hands over the cgroup of each process that was killed for want of
// memory. Of one reading the kernel gives one record.
func (k *kernelLog) victims(found func(cgroup string)) {
	for range maxRecords {
		n, err := retry(func() (int, error) { return unix.Read(k.fd, k.buf) })
		if errors.Is(err, unix.EPIPE) {
			continue // it was overwritten before it was read; the next is there
		}
		if err != nil || n == 0 {
			return
		}
		for line := range bytes.Lines(k.buf[:n]) {
			if cgroup, ok := parseVictim(line); ok {
				found(cgroup)
			}
		}
	}
}

func (k *kernelLog) close() { _ = unix.Close(k.fd) } // nothing was written

// parseVictim takes the cgroup of the process that is killed out of a line of the
// kernel's log, as kernels write it since 5.0 and before.
func parseVictim(line []byte) (cgroup string, ok bool) {
	_, text, ok := strings.Cut(strings.TrimSpace(string(line)), ";")
	if !ok {
		return "", false
	}
	if rest, ok := strings.CutPrefix(text, "oom-kill:"); ok {
		_, rest, _ = strings.Cut(rest, ",task_memcg=")
		cgroup, _, ok = strings.Cut(rest, ",task=")
		return cgroup, ok && strings.HasPrefix(cgroup, "/")
	}
	if rest, ok := strings.CutPrefix(text, "Task in "); ok {
		cgroup, _, ok = strings.Cut(rest, " killed as a result of limit of ")
		return cgroup, ok && strings.HasPrefix(cgroup, "/")
	}
	return "", false
}
