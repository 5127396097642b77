package container

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

const victimLine = "3,901,88231,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=%[1]s,mems_allowed=0,oom_memcg=/kubepods/burstable/pod" + podUID +
	",task_memcg=%[2]s,task=a,task=b,pid=71,uid=0\n SUBSYSTEM=x\n"

func TestVictims(t *testing.T) {
	t.Parallel()
	f := func(line, want string) {
		t.Helper()
		got, ok := parseVictim([]byte(line))
		require.Equal(t, want != "", ok)
		if ok {
			require.Equal(t, want, got)
		}
	}
	f(fmt.Sprintf(victimLine, idB, "/docker/"+idB), "/docker/"+idB)
	f("3,901,88231,-;Task in /docker/x killed as a result of limit of /docker\n", "/docker/x")
	f("3,901,88231,-;oom-kill:constraint=CONSTRAINT_NONE,task_memcg=none,task=a", "")
	f("3,901,88231,-;oom-kill:constraint=CONSTRAINT_NONE,task_memcg=/cut", "")
	f("3,901,88231,-;Task in /docker", "")
	f("oom-kill:constraint=,task_memcg=/a,task=a", "")
	f("", "")
}

func FuzzVictims(f *testing.F) {
	f.Add(fmt.Sprintf(victimLine, "a", "/b"))
	f.Fuzz(func(t *testing.T, line string) {
		if cgroup, ok := parseVictim([]byte(line)); ok {
			require.True(t, strings.HasPrefix(cgroup, "/"))
		}
	})
}

const appKills = `strata_container_oom_kills_total{container="app",namespace="shop",pod="web-1"} `

// oomHost is a Kubernetes host with a log; killed sets the counter of a container
// and said writes to the log.
func oomHost(t *testing.T) (h *host, e *Exporter, clock *time.Time, app string) {
	h, runtime := kubernetes(t, false)
	h.write("dev/kmsg", fmt.Sprintf(victimLine, "old", "/kubepods/burstable/pod"+podUID+"/"+idB)) // from before
	now := read
	e = h.exporter(func(o *Options) { runtime.endpoint(o); o.Now = func() time.Time { return now } })
	runtime.pod("shop", "web-1", podUID, idA, "app", idB, "app", idC)
	return h, e, &now, "/kubepods/burstable/pod" + podUID + "/"
}

func (h *host) killed(id string, n int) {
	h.cgroup(id, files{"memory.oom_control": fmt.Sprintf("oom_kill_disable 0\nunder_oom 0\noom_kill %d\n", n)})
}

func (h *host) said(text string) {
	h.t.Helper()
	f, err := os.OpenFile(filepath.Join(h.root, "dev/kmsg"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(h.t, err)
	_, err = f.WriteString(text)
	require.NoError(h.t, err)
	require.NoError(h.t, f.Close())
}

// Kills are counted over the cgroups that a container of one name has in turn,
// also those that only the kernel's log has told of.
func TestKillsOutliveTheirCgroups(t *testing.T) {
	t.Parallel()
	h, e, clock, pod := oomHost(t)
	kills := func(want float64) {
		t.Helper()
		got := text(t, e, e.Collect)
		unique(t, got)
		require.Contains(t, got, "\n"+appKills+fmt.Sprint(want)+"\n")
		require.NotContains(t, got, `strata_container_oom_kills_total{container="",`)
	}
	kills(0)
	h.killed(pod+idB, 2)
	kills(2)
	h.said(fmt.Sprintf(victimLine, idB, pod+idB)) // one of the two
	kills(2)
	h.killed(pod+idB, 3)
	kills(3)
	// Its cgroup goes: what it had at its end counts.
	last := Cgroup{ID: pod + idB, place: placeOf(pod + idB)}
	for f := range last.values {
		last.values[f] = math.NaN()
	}
	last.values[oomKills] = 4
	h.remove(pod + idB)
	e.ooms.ended(&last, *clock)
	kills(4)
	// The next one is killed and gone before anybody has read it.
	h.said("6,1,1,-;something else\n" + fmt.Sprintf(victimLine, idC, pod+idC+"/below"))
	kills(5)
	// A new one begins at none.
	h.cgroup(pod+idC, h.usage(1))
	h.killed(pod+idC, 0)
	kills(5)
	h.killed(pod+idC, 1)
	kills(6)
	h.killed(pod+idC, 0) // another by the same id
	h.killed(pod+idC+"/below", 1)
	h.cgroup(pod+idC+"/below", h.usage(1))
	kills(6)
	h.remove(pod + idC)
	*clock = clock.Add(oomKept)
	require.NotContains(t, text(t, e, e.Collect), "strata_container_oom_kills_total{")
	require.Empty(t, e.ooms.cgroups)
}

// A container is counted once its name is known, though its cgroup is gone.
func TestKillsOfALateName(t *testing.T) {
	t.Parallel()
	o := ooms{}
	c := Cgroup{ID: "/docker/" + idA, place: placeOf("/docker/" + idA), values: values{oomKills: 2}}
	var who *Container
	o.ended(&c, read)
	o.pass(nil, func(*Cgroup) *Container { return who }, read)
	require.Empty(t, o.totals)
	who = &Container{ID: idA, Name: "web"}
	o.pass(nil, func(*Cgroup) *Container { return who }, read.Add(time.Minute))
	require.Equal(t, 2.0, o.totals[key{container: "web"}].kills)
	o.ended(&Cgroup{ID: "/docker/" + idB, place: place{containerID: idB}, who: &Container{Sandbox: true}}, read)
	require.Len(t, o.cgroups, 1)
}

// Cgroups of one id in turn, as when Docker starts a container again, seen by
// passes or not, with the log or without.
func TestKillsOfCgroupsOfOneID(t *testing.T) {
	t.Parallel()
	const id = "/docker/" + idA
	o := ooms{}
	live := func(at time.Time, start, kills, want float64) {
		t.Helper()
		c := Cgroup{ID: id, At: at, place: placeOf(id), who: &Container{Name: "web"}, values: values{specStarted: start, oomKills: kills}}
		o.pass([]Cgroup{c}, func(*Cgroup) *Container { return nil }, at)
		require.Equal(t, want, o.totals[key{container: "web"}].kills)
	}
	ended := func(at time.Time, kills, want float64) {
		t.Helper()
		o.ended(&Cgroup{ID: id, place: placeOf(id), who: &Container{Name: "web"}, values: values{oomKills: kills}}, at)
		require.Equal(t, want, o.totals[key{container: "web"}].kills)
	}
	at := func(n int) time.Time { return read.Add(time.Duration(n) * time.Second) }
	live(at(0), 1, 1, 1)
	ended(at(1), 1, 1)
	live(at(0), 1, 1, 1) // a pass that had read it before
	ended(at(2), 1, 2)   // the next one, that no pass saw
	o.victim(id, at(2))
	o.victim(id, at(2))
	live(at(3), 3, 1, 3)
	live(at(4), 3, 1, 3)
	live(at(5), 5, 1, 4) // another, of which the end was not seen
	live(at(6), 5, 0, 4)
	live(at(6), 5, math.NaN(), 4)
	live(at(7), 5, 1, 5)
	for range 6 {
		o.victim(id, at(7))
	}
	live(at(8), 5, 1, 8)
}

// However many there are, few are kept.
func TestKillsAreBounded(t *testing.T) {
	t.Parallel()
	o := ooms{}
	for i := range maxTotals + 10 {
		id := fmt.Sprintf("/docker/%064x", i)
		o.ended(&Cgroup{ID: id, place: placeOf(id), who: &Container{Name: id}}, read)
	}
	require.Len(t, o.totals, maxTotals)
	require.LessOrEqual(t, len(o.cgroups), maxTotals)
	f, err := metric.New(metric.Spec{Name: "f", Help: "h", Type: metric.Counter, Labels: []string{"a", "b", "c"}})
	require.NoError(t, err)
	b := metric.NewBatch()
	o.addTo(b, f)
	require.Equal(t, maxTotals, strings.Count(string(b.AppendText(nil)), "f{"))
}

// A container that is killed for want of memory on this machine, and gone with
// its cgroup at once, is counted under its name, with the kernel's log (where it
// can be read) and without.
func TestKilledForMemory(t *testing.T) {
	t.Run("log", func(t *testing.T) { testKilledForMemory(t, "") })
	t.Run("cgroups", func(t *testing.T) { testKilledForMemory(t, "/nonexistent") })
}

func testKilledForMemory(t *testing.T, log string) {
	g := newRealGroups(t, "cpuacct", "cpu", "memory")
	known := &fakeIdentity{all: []*Container{{ID: idA, Container: "app", Pod: "hungry-0", Namespace: "shop"}}}
	e, err := New(Options{Identity: known, DockerEndpoint: NoEndpoint, PodmanEndpoint: NoEndpoint, KernelLog: log})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	series := `strata_container_oom_kills_total{container="app",namespace="shop",pod="hungry-0"} `
	text(t, e, e.Collect)
	for n := 1; n <= 2; n++ { // the second time as another cgroup
		g.mkdir("/" + idA)
		g.each("/"+idA, func(dir string) error {
			if !strings.Contains(dir, "/memory/") {
				return nil
			}
			return os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), []byte("2097152"), 0o644)
		})
		p := g.start("/"+idA, 1)
		_, _ = p.stdin.Write([]byte("x")) // it may have been killed before
		require.Error(t, p.cmd.Wait(), "it is killed")
		_ = exec.Command("true").Run() // as a runtime that calls runc to remove the rest
		g.rmdir("/" + idA)
		counted := false
		require.Eventually(t, func() bool {
			got := text(t, e, e.Collect)
			counted = strings.Contains(got, "\n"+series+fmt.Sprint(n)+"\n")
			return counted || samples(got)[`strata_container_ended_incomplete{id="`+g.id+"/"+idA+`",image="",name=""}`] == 1
		}, time.Minute, 10*time.Millisecond)
		if !counted {
			t.Skip("the cgroup was gone before it was read, which is said, and the kernel holds back some lines of its log")
		}
	}
	t.Log("by the log too:", e.ooms.log != nil)
}
