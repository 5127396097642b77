package serve

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// KeepHeap has garbage collected when the heap has grown by a share, in percent,
// that is smaller than Go's 100, unless the environment sets GOGC.
func KeepHeap(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// SmallHeap is the share for those that leave little garbage, half of a tenth of
// a megabyte a scrape of a host: the heap is collected at 1.2 MB instead of 4,
// which is dearer by some microseconds a scrape and holds 3 MB less.
const SmallHeap = 30

// startTime is for how long a program is taken to start: until then it has
// served its first scrapes, with connections to make and lists to read.
const startTime = time.Minute

// ReleaseStart gives back to the kernel what only the start of the program has
// needed, now and once more after the first scrapes. It is called when a program
// is about to serve.
func ReleaseStart() {
	release()
	time.AfterFunc(startTime, release)
}

// release gives back garbage, and the pages of the program's file with the
// parsing of flags and the initialisation of packages. What is needed again is
// mapped again when it is touched, from the kernel's cache of the file. Where it
// fails nothing is lost but this memory.
func release() {
	debug.FreeOSMemory()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer func() { _ = maps.Close() }()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if from, size, ok := programText(lines.Text(), program); ok {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, size, unix.MADV_DONTNEED)
		}
	}
}

// programText tells whether a line of /proc/self/maps, see proc_pid_maps(5), is
// of a part of the program that cannot be written to, and so is the same in the
// file. Data that was written would be lost.
func programText(line, program string) (from, size uintptr, ok bool) {
	f := strings.Fields(line)
	if len(f) < 6 || !strings.HasSuffix(line, " "+program) || f[1] != "r-xp" && f[1] != "r--p" {
		return 0, 0, false
	}
	first, last, _ := strings.Cut(f[0], "-")
	a, err1 := strconv.ParseUint(first, 16, 64)
	b, err2 := strconv.ParseUint(last, 16, 64)
	if err1 != nil || err2 != nil || b <= a {
		return 0, 0, false
	}
	return uintptr(a), uintptr(b - a), true
}
