package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

// madeSupervisord is what a supervisord with three processes says.
const madeSupervisord = `<?xml version='1.0'?>
<methodResponse><params><param><value><array><data>
<value><struct>
<member><name>name</name><value><string>worker_00</string></value></member>
<member><name>group</name><value><string>worker</string></value></member>
<member><name>state</name><value><int>20</int></value></member>
<member><name>exitstatus</name><value><int>0</int></value></member>
<member><name>start</name><value><i4>1767225600</i4></value></member>
<member><name>spawnerr</name><value><string></string></value></member>
</struct></value>
<value><struct>
<member><name>name</name><value>bare</value></member>
<member><name>group</name><value>bare</value></member>
<member><name>state</name><value><int>200</int></value></member>
<member><name>exitstatus</name><value><int>-9</int></value></member>
<member><name>start</name><value><int>0</int></value></member>
</struct></value>
<value><struct>
<member><name>name</name><value><string>a&amp;b</string></value></member>
<member><name>group</name><value><string>g</string></value></member>
<member><name>state</name><value><int>40</int></value></member>
<member><name>exitstatus</name><value><int>3</int></value></member>
<member><name>start</name><value><int>1767225601</int></value></member>
</struct></value>
</data></array></value></param></params></methodResponse>`

// newSupervisordPeer is a supervisord that gives the answer.
func newSupervisordPeer(t *testing.T, answer string) (url string) {
	t.Helper()
	s := httptest.NewServer(supervisordHandler(answer))
	t.Cleanup(s.Close)
	return s.URL + "/RPC2"
}

func supervisordHandler(answer string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/RPC2" ||
			!strings.Contains(string(body), "<methodName>supervisor.getAllProcessInfo</methodName>") {
			http.Error(w, "not understood", http.StatusBadRequest)
			return
		}
		if _, password, ok := r.BasicAuth(); ok && password != "right" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, answer)
	})
}

// collectOnly runs a collector by itself.
func collectOnly(ctx context.Context, t *testing.T, name string, o Options) (string, error) {
	t.Helper()
	o.DisableDefaults, o.Enabled = true, map[string]bool{name: true}
	b := metric.NewBatch()
	err := newExporter(t, o).entries[0].Collector.Collect(ctx, b)
	return string(b.AppendText(nil)), err
}

func TestSupervisord(t *testing.T) {
	t.Parallel()
	const up = `node_supervisord_up{name="worker_00",group="worker"} 1`
	f := func(url, want, wantErr string) {
		t.Helper()
		o := hostOptions(t)
		o.Supervisord.URL = url
		text, err := collectOnly(t.Context(), t, "supervisord", o)
		require.Contains(t, text, want)
		if wantErr == "" {
			require.NoError(t, err)
			return
		}
		require.ErrorContains(t, err, wantErr)
		require.NotContains(t, err.Error(), "secret")
	}
	dir, err := os.MkdirTemp("", "s") // the name of a socket is bounded
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", dir+"/s")
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(supervisordHandler(madeSupervisord))
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	f("unix://"+dir+"/s", up, "")
	url := newSupervisordPeer(t, madeSupervisord)
	f(strings.Replace(url, "//", "//u:right@", 1), up, "")
	f(strings.Replace(url, "//", "//u:secret@", 1), "", "asking supervisord at http://u:xxxxx@127.0.0.1")
	f(url+"/other", "", "status 400 Bad Request")
	f("unix:///no/such/socket", "", "connect: no such file or directory")
	f("http://127.0.0.1:1/RPC2", "", "connection refused")
	f("%", "", "asking supervisord at %")
	answer := func(text, want, wantErr string) {
		t.Helper()
		f(newSupervisordPeer(t, text), want, wantErr)
	}
	answer("", "", ":1: unexpected content: EOF")
	answer("<html>\n</html>", "", "unexpected content: expected element type <methodResponse>")
	answer(madeSupervisord[:500], "", "XML syntax error")
	answer("<methodResponse/>", "", "the answer has no value")
	answer("<methodResponse><fault><value><struct><member><name>faultString</name><value>SHUTDOWN_STATE</value></member></struct></value></fault></methodResponse>",
		"", "supervisord says: SHUTDOWN_STATE")
	answer(strings.Replace(madeSupervisord, "<int>200</int>", "<int>many</int>", 1), up, `process "bare:bare": state: strconv.ParseInt: parsing "many"`)
	answer(strings.Replace(madeSupervisord, "<int>200</int>", "", 1), up, `process "bare:bare": state: it has no integer`)
	answer(strings.ReplaceAll(madeSupervisord, ">bare<", "><"), up, `process ":": it has no name`)
	answer(strings.Replace(strings.Replace(madeSupervisord, "a&amp;b", "bare", 1), ">g<", ">bare<", 1), up, `process "bare:bare": is listed twice`)
}

// A peer that does not answer costs its collector until its time is up.
func TestStuckPeers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-release
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(release) })
	o := hostOptions(t)
	o.Supervisord.URL = s.URL
	_, err := collectOnly(ctx, t, "supervisord", o)
	require.ErrorIs(t, err, context.Canceled)

	ctx, cancel = context.WithCancel(t.Context())
	o.NTP.Port = newNTPPeer(t, func([]byte) []byte {
		cancel()
		return nil
	})
	_, err = collectOnly(ctx, t, "ntp", o)
	require.ErrorIs(t, err, context.Canceled)
}

func FuzzSupervisord(f *testing.F) {
	f.Add([]byte(madeSupervisord))
	f.Add([]byte("<methodResponse><params><param><value><array><data><value/></data></array></value></param></params></methodResponse>"))
	f.Add([]byte("<methodResponse><fault><value>x</value></fault></methodResponse>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		processes, err := parseSupervisord("f", data)
		require.True(t, known(err), err)
		seen := map[string]bool{}
		for _, p := range processes {
			require.NotEmpty(t, p.name)
			require.False(t, seen[fmt.Sprintf("%q%q", p.group, p.name)])
			seen[fmt.Sprintf("%q%q", p.group, p.name)] = true
		}
	})
}

func TestRunit(t *testing.T) {
	t.Parallel()
	o := hostOptions(t)
	o.Runit.ServiceDir = "/no/such/directory"
	_, err := collectOnly(t.Context(), t, "runit", o)
	require.ErrorContains(t, err, "/no/such/directory: no such file or directory")
	o.Runit.ServiceDir = t.TempDir()
	web, err := filepath.Abs("testdata/host/etc/service/web")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(web, o.Runit.ServiceDir+"/link"))
	require.NoError(t, os.Symlink("nowhere", o.Runit.ServiceDir+"/dangling"))
	require.NoError(t, os.MkdirAll(o.Runit.ServiceDir+"/cut/supervise", 0o700))
	write(t, o.Runit.ServiceDir+"/cut/supervise/status", "short")
	text, err := collectOnly(t.Context(), t, "runit", o)
	require.ErrorContains(t, err, "/cut/supervise/status:1: unexpected content: 5 bytes, 20 are expected")
	require.Contains(t, text, `node_service_state{service="link",supervisor="runit"} 1`)
	require.NotContains(t, text, "dangling")
}

func FuzzRunit(f *testing.F) {
	f.Add(make([]byte, 20))
	f.Add([]byte("12345678901234567u9\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseRunit("f", data)
		require.True(t, known(err), err)
		require.LessOrEqual(t, s.want, byte(1))
	})
}

// newMadeClock is the made host's time, half a second later at each call but
// the first.
func newMadeClock() func() time.Time {
	var calls atomic.Int64
	return func() time.Time { return madeNow().Add(time.Duration((calls.Add(1)-1)%2) * 500 * time.Millisecond) }
}

// newNTPPeer is a server on a port of 127.0.0.1; no answer is none.
func newNTPPeer(t *testing.T, answer func(question []byte) []byte) (port int) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		packet := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			if reply := answer(packet[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).Port
}

func putNTPTime(at []byte, t time.Time) {
	binary.BigEndian.PutUint32(at, uint32(t.Unix()+2208988800))
	binary.BigEndian.PutUint32(at[4:], uint32(uint64(t.Nanosecond())<<32/1e9))
}

// madeNTP is the answer of a server whose clock is a quarter of a second ahead.
func madeNTP(question []byte) []byte {
	a := make([]byte, ntpSize)
	a[0], a[1] = 4<<3|4, 2
	binary.BigEndian.PutUint32(a[4:], 1<<14) // a quarter of a second
	binary.BigEndian.PutUint32(a[8:], 1<<12) // a sixteenth
	putNTPTime(a[16:], madeNow().Add(-time.Minute))
	copy(a[24:32], question[40:48])
	putNTPTime(a[32:], madeNow().Add(375*time.Millisecond))
	putNTPTime(a[40:], madeNow().Add(625*time.Millisecond))
	return a
}

func TestNTP(t *testing.T) {
	t.Parallel()
	f := func(change func([]byte) []byte, sane string, wantErr string) {
		t.Helper()
		o := hostOptions(t)
		o.NTP.Port = newNTPPeer(t, func(q []byte) []byte { return change(madeNTP(q)) })
		o.NTP.OffsetTolerance = 200 * time.Millisecond
		text, err := collectOnly(t.Context(), t, "ntp", o)
		if wantErr != "" {
			require.ErrorContains(t, err, wantErr)
			require.Empty(t, text)
			return
		}
		require.NoError(t, err)
		require.Contains(t, text, "\nnode_ntp_sanity "+sane+"\n")
	}
	set := func(at int, b ...byte) func([]byte) []byte {
		return func(a []byte) []byte {
			copy(a[at:], b)
			return a
		}
	}
	f(set(0), "1", "")
	f(set(0, 3<<6|4<<3|4), "0", "") // not in sync
	f(set(1, 0), "0", "")           // a kiss of death
	f(set(1, 16), "0", "")          // too far from the root
	f(set(8, 0, 40), "0", "")       // too much dispersion
	f(set(0, 1<<6|4<<3|4), "1", "") // a leap second is near
	f(set(16, 0, 0, 0, 0, 0, 0, 0, 0), "1", "")
	f(set(16, 200), "0", "") // years ago
	f(set(0, 4<<3|3), "", "mode 3 is not that of a server")
	f(set(24, 1, 2, 3, 4, 5, 6, 7, 8), "", "an answer to another")
	f(set(40, 0, 0, 0, 0, 0, 0, 0, 0), "", "it has no time")
	f(set(32, 255), "", "sent before the question came")
	f(func(a []byte) []byte { return a[:40] }, "", "40 bytes, 48 are expected")
	o := hostOptions(t)
	o.NTP.Port = 1
	_, err := collectOnly(t.Context(), t, "ntp", o)
	require.ErrorContains(t, err, "asking the NTP server 127.0.0.1:1: read udp")
}

func TestNTPFlags(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		o, err := parseFlags(args...)
		require.NoError(t, err)
		_, err = New(o)
		require.NoError(t, err, "not asked while it is off")
		o.Enabled["ntp"] = true
		if _, err = New(o); want != "" {
			require.ErrorContains(t, err, want)
			return
		}
		require.NoError(t, err)
	}
	f("")
	f("", "--collector.ntp.server=::1", "--collector.ntp.protocol-version=2", "--collector.ntp.server-port=65535")
	f("", "--collector.ntp.server=time.example.com", "--collector.ntp.server-is-local", "--collector.ntp.ip-ttl=4")
	f(`--collector.ntp.server="192.0.2.1" is no loopback address`, "--collector.ntp.server=192.0.2.1")
	f("--collector.ntp.protocol-version=5 is none of 2, 3 and 4", "--collector.ntp.protocol-version=5")
	f("--collector.ntp.server-port=0 is not between 1 and 65535", "--collector.ntp.server-port=0")
	f("--collector.ntp.local-offset-tolerance=-1s is negative", "--collector.ntp.local-offset-tolerance=-1s")
	o, err := parseFlags("--collector.ntp.max-distance=2s")
	require.NoError(t, err)
	require.Equal(t, 2*time.Second, o.NTP.MaxDistance)
}

func FuzzNTP(f *testing.F) {
	f.Add(madeNTP(make([]byte, ntpSize)), int64(0))
	f.Add(make([]byte, ntpSize), int64(-1))
	f.Fuzz(func(t *testing.T, data []byte, seconds int64) {
		a, err := parseNTP(data, 0)
		if err != nil {
			require.ErrorIs(t, err, errNTP)
			return
		}
		a.sent = time.Unix(seconds%(1<<33), 0)
		a.received = a.sent.Add(time.Millisecond)
		require.GreaterOrEqual(t, a.rtt(), time.Duration(0))
		require.GreaterOrEqual(t, a.leastOffset(), time.Duration(0))
		require.False(t, a.valid() && (a.stratum == 0 || a.leap == ntpNotInSync))
	})
}
