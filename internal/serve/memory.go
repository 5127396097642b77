package serve

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
)

// LimitMemory sets Go's memory limit to a part of what the container, or else
// the machine, has, unless the environment sets GOMEMLIMIT.
func LimitMemory(root string, ratio float64) error {
	if os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	bytes, err := memoryOf(root)
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(int64(float64(bytes) * ratio))
	return nil
}

// memoryOf reads the limit of the control group, of version 2 or 1, or the
// size of the machine.
func memoryOf(root string) (int64, error) {
	for _, file := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		content, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(string(bytes.TrimSpace(content)), 10, 64)
		if err == nil && limit > 0 && limit < math.MaxInt64/2 { // no limit is max, or all bits
			return limit, nil
		}
	}
	content, err := os.ReadFile(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(content)
	if len(fields) < 2 || string(fields[0]) != "MemTotal:" {
		return 0, errors.New("/proc/meminfo does not begin with MemTotal")
	}
	kib, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return kib << 10, err
}
