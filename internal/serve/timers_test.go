package serve

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCoarseTimers runs this test again as a program, which executes itself
// once more.
func TestCoarseTimers(t *testing.T) {
	const child = "STRATA_TEST_COARSE_TIMERS"
	if os.Getenv(child) != "" {
		CoarseTimers("child", os.Stdout)
		slacks := map[string]bool{}
		threads, err := filepath.Glob("/proc/self/task/*")
		require.NoError(t, err)
		for _, thread := range threads {
			// Of other threads than the reading one it may need a privilege.
			slack, err := os.ReadFile(filepath.Join("/proc", filepath.Base(thread), "timerslack_ns"))
			if err == nil {
				slacks[strings.TrimSpace(string(slack))] = true
			}
		}
		own, err := currentSlack()
		require.NoError(t, err)
		fmt.Println("pid", os.Getpid(), "own", own, "all", slacks, "args", os.Args[len(os.Args)-1])
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCoarseTimers$", "-test.count=1", "argument")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), fmt.Sprintf("pid %d own %d all map[", cmd.Process.Pid, timerSlack))
	require.Contains(t, string(out), "args argument")
	if os.Getuid() == 0 {
		require.Contains(t, string(out), fmt.Sprintf("all map[%d:true]", timerSlack), "of every thread")
	}
}
