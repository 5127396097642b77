package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"

	"github.com/strata-metrics/strata/internal/metric"
)

// madeObjects are objects with their properties by interface and name, and
// what methods give, by path and then name.
type madeObjects struct {
	properties map[dbus.ObjectPath]map[string]any
	methods    map[dbus.ObjectPath]map[string]any
}

func unitPath(name string) dbus.ObjectPath {
	return dbus.ObjectPath("/org/freedesktop/systemd1/unit/" + strings.NewReplacer(".", "_2e", "-", "_2d", "@", "_40").Replace(name))
}

func madeUnit(name, load, active string) systemdUnit {
	return systemdUnit{Name: name, LoadState: load, ActiveState: active, Path: unitPath(name), JobPath: "/"}
}

// madeSystem is a systemd with its logind. One of its units is gone before it
// is asked for.
func madeSystem() madeObjects {
	session := func(remote bool, kind, class string) map[string]any {
		s := "org.freedesktop.login1.Session."
		return map[string]any{s + "Remote": remote, s + "Type": kind, s + "Class": class}
	}
	service, socket, timer := systemdName+".Service.", systemdName+".Socket.", systemdName+".Timer."
	const never = ^uint64(0)
	return madeObjects{
		methods: map[dbus.ObjectPath]map[string]any{
			systemdPath: {"ListUnits": []systemdUnit{
				madeUnit("web.service", "loaded", "active"), madeUnit("broken.service", "loaded", "failed"),
				madeUnit("db.socket", "loaded", "active"), madeUnit("old.socket", "loaded", "inactive"),
				madeUnit("daily.timer", "loaded", "active"), madeUnit("gone.service", "loaded", "activating"),
				madeUnit("srv.mount", "loaded", "active"), madeUnit("absent.service", "not-found", "inactive"),
				madeUnit("user.slice", "loaded", "active"), madeUnit("swapfile.swap", "loaded", "reloading"),
			}},
			logindPath: {
				"ListSeats": []logindSeat{{"seat0", "/s0"}},
				"ListSessions": []logindSession{
					{"1", 0, "a", "seat0", "/1"}, {"2", 1, "b", "", "/2"}, {"3", 1, "b", "", "/3"}, {"4", 1, "gone", "", "/4"},
				},
			},
		},
		properties: map[dbus.ObjectPath]map[string]any{
			systemdPath: {
				systemdManager + ".Version": "252.39-1~deb12u1", systemdManager + ".Virtualization": "kvm", systemdManager + ".SystemState": "running",
			},
			unitPath("web.service"): {
				service + "Type": "notify", service + "NRestarts": uint32(3), service + "TasksCurrent": uint64(12), service + "TasksMax": uint64(4915),
				systemdName + ".Unit.ActiveEnterTimestamp": uint64(1767225600500000),
			},
			unitPath("broken.service"): {
				service + "Type": "oneshot", service + "NRestarts": uint32(7), service + "TasksCurrent": never, service + "TasksMax": never,
			},
			unitPath("db.socket"): {
				socket + "NAccepted": uint32(9), socket + "NConnections": uint32(2), socket + "NRefused": uint32(1),
				systemdName + ".Unit.ActiveEnterTimestamp": uint64(1767225600000000),
			},
			unitPath("old.socket"):  {socket + "NAccepted": uint32(4), socket + "NConnections": uint32(0)},
			unitPath("daily.timer"): {timer + "LastTriggerUSec": uint64(1767139200250000)},
			unitPath("srv.mount"):   {systemdName + ".Mount.Type": "ext4"},
			"/1":                    session(false, "wayland", "user"),
			"/2":                    session(true, "tty", "user"),
			"/3":                    session(true, "hologram", "robot"),
		},
	}
}

// answer gives the body of the answer to a call, or the name of an error.
func (m madeObjects) answer(msg *dbus.Message) (body []any, failure string) {
	path, _ := msg.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	member, _ := msg.Headers[dbus.FieldMember].Value().(string)
	switch {
	case member == "Hello":
		return []any{":1.7"}, ""
	case member == "Get" && len(msg.Body) == 2:
		name := fmt.Sprint(msg.Body[0], ".", msg.Body[1])
		if v, ok := m.properties[path][name]; ok {
			return []any{dbus.MakeVariant(v)}, ""
		}
		return nil, "org.freedesktop.DBus.Error.UnknownProperty"
	}
	if v, ok := m.methods[path][member]; ok {
		return []any{v}, ""
	}
	return nil, "org.freedesktop.DBus.Error.UnknownMethod"
}

// newBus is a bus in this process that knows the objects: the protocol as the
// specification has it, from the first byte. Each connection is given to spoil
// first, which may break it and then says so; nil never does.
func newBus(t *testing.T, objects madeObjects, spoil func(net.Conn) bool) (address string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // the name of a socket is bounded
	require.NoError(t, err)
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		_ = os.RemoveAll(dir)
	})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if spoil == nil || !spoil(conn) {
					_ = serveBus(conn, objects)
				}
			}()
		}
	}()
	return "unix:path=" + path
}

func serveBus(conn net.Conn, objects madeObjects) error {
	in := bufio.NewReader(conn)
	if err := authenticate(in, conn); err != nil {
		return err
	}
	for serial := uint32(1); ; serial++ {
		msg, err := dbus.DecodeMessage(in)
		if err != nil {
			return err
		}
		body, failure := objects.answer(msg)
		if _, err := conn.Write(busAnswer(msg, serial, body, failure)); err != nil {
			return err
		}
	}
}

// authenticate takes whoever asks by the mechanism EXTERNAL.
func authenticate(in *bufio.Reader, out io.Writer) error {
	if zero, err := in.ReadByte(); err != nil || zero != 0 {
		return fmt.Errorf("no zero byte: %w", err)
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		var reply string
		switch word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); {
		case word == "AUTH" && strings.HasPrefix(rest, "EXTERNAL"):
			reply = "OK 0123456789abcdef0123456789abcdef"
		case word == "AUTH":
			reply = "REJECTED EXTERNAL"
		case word == "BEGIN":
			return nil
		default:
			reply = "ERROR"
		}
		if _, err := io.WriteString(out, reply+"\r\n"); err != nil {
			return err
		}
	}
}

// busAnswer is the answer to a call, as bytes.
func busAnswer(to *dbus.Message, serial uint32, body []any, failure string) []byte {
	reply := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(to.Serial()), dbus.FieldSender: dbus.MakeVariant("org.freedesktop.DBus"),
	}, Body: body}
	if failure != "" {
		reply.Type = dbus.TypeError
		reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant(failure)
	}
	if len(body) > 0 {
		reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	var b bytes.Buffer
	if err := reply.EncodeTo(&b, binary.LittleEndian); err != nil {
		panic(err)
	}
	binary.LittleEndian.PutUint32(b.Bytes()[8:], serial)
	return b.Bytes()
}

// onBus is an exporter whose system bus is at the address.
func onBus(t *testing.T, collector, address string) *Exporter {
	t.Helper()
	o := only(hostOptions(t), collector)
	o.systemBus = address
	e := newExporter(t, o)
	if c, ok := e.entries[0].Collector.(*exclusive).Collector.(*systemd); ok {
		c.private = "unix:path=/no/such/socket"
	}
	return e
}

// export gives a connection's objects to the others on its bus.
func export(t *testing.T, conn *dbus.Conn, objects madeObjects) {
	t.Helper()
	paths := map[dbus.ObjectPath]bool{}
	for path, methods := range objects.methods {
		table := map[string]any{}
		for name, result := range methods {
			switch r := result.(type) {
			case []systemdUnit:
				table[name] = func() ([]systemdUnit, *dbus.Error) { return r, nil }
			case []logindSeat:
				table[name] = func() ([]logindSeat, *dbus.Error) { return r, nil }
			case []logindSession:
				table[name] = func() ([]logindSession, *dbus.Error) { return r, nil }
			}
		}
		for _, of := range []string{systemdManager, logindName + ".Manager"} {
			require.NoError(t, conn.ExportMethodTable(table, path, of))
		}
	}
	for path := range objects.properties {
		paths[path] = true
	}
	for path := range paths {
		require.NoError(t, conn.ExportMethodTable(map[string]any{
			"Get": func(of, name string) (dbus.Variant, *dbus.Error) {
				if v, ok := objects.properties[path][of+"."+name]; ok {
					return dbus.MakeVariant(v), nil
				}
				return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", nil)
			},
		}, path, "org.freedesktop.DBus.Properties"))
	}
}

// daemonConfig is a bus on which this user may own any name.
const daemonConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=SOCKET</listen>
<policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`

// With the bus that hosts have, the same as with the one of these tests.
func TestRealBus(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("no dbus-daemon here; Debian has it in the package dbus-daemon")
	}
	dir, err := os.MkdirTemp("", "bus")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	write(t, dir+"/conf", strings.ReplaceAll(daemonConfig, "SOCKET", dir+"/s"))
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "--config-file="+dir+"/conf", "--nofork", "--nopidfile", "--print-address")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	_, err = bufio.NewReader(out).ReadString('\n') // it listens now
	require.NoError(t, err)
	address := "unix:path=" + dir + "/s"
	conn, err := dbus.Connect(address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	export(t, conn, madeSystem())
	for _, name := range []string{systemdName, logindName} {
		reply, err := conn.RequestName(name, dbus.NameFlagDoNotQueue)
		require.NoError(t, err)
		require.Equal(t, dbus.RequestNameReplyPrimaryOwner, reply)
	}
	for _, name := range []string{"systemd", "logind"} {
		want, err := os.ReadFile("testdata/golden/" + name + ".prom")
		require.NoError(t, err)
		require.Equal(t, string(want), scrape(t, onBus(t, name, address)))
	}
}

// A bus that is not there, says nothing, refuses or speaks nonsense costs its
// collector, which says so, and nothing is left behind.
func TestBrokenBus(t *testing.T) {
	t.Parallel()
	f := func(address, want string) {
		t.Helper()
		for _, name := range []string{"systemd", "logind"} {
			err := onBus(t, name, address).entries[0].Collector.Collect(t.Context(), metric.NewBatch())
			require.ErrorContains(t, err, want, name)
		}
	}
	say := func(text string) func(net.Conn) bool {
		return func(c net.Conn) bool {
			_, _ = io.WriteString(c, text)
			_, _ = io.Copy(io.Discard, c)
			return true
		}
	}
	f("unix:path=/no/such/bus", "connecting to the system bus: dial unix /no/such/bus: connect: no such file or directory")
	f(newBus(t, madeObjects{}, say("REJECTED EXTERNAL\r\n")), `unexpected answer: "REJECTED EXTERNAL`)
	f(newBus(t, madeObjects{}, say(strings.Repeat("x", 10_000))), "buffer full")
	f("smoke:signal=1", `address "smoke:signal=1" of a bus: only`)
	f(newBus(t, madeObjects{}, func(c net.Conn) bool { _ = authenticate(bufio.NewReader(c), c); return true }), "connecting to the system bus: ")
	f(newBus(t, madeObjects{}, nil), "Manager.List")
	f(newBus(t, madeObjects{methods: map[dbus.ObjectPath]map[string]any{
		systemdPath: {"ListUnits": "none"}, logindPath: {"ListSeats": uint32(5)},
	}}, nil), "unexpected answer")
}

// A bus that stops at any point holds its collector until its time is up, and
// no longer.
func TestStuckBus(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"systemd", "logind"} {
		for _, answers := range []int{-1, 0, 1, 2, 3, 5} { // -1 is before the authentication
			ctx, cancel := context.WithCancel(t.Context())
			address := newBus(t, madeObjects{}, func(c net.Conn) bool {
				in := bufio.NewReader(c)
				if answers >= 0 && authenticate(in, c) != nil {
					return true
				}
				for n := range answers {
					msg, err := dbus.DecodeMessage(in)
					if err != nil {
						return true
					}
					body, failure := madeSystem().answer(msg)
					_, _ = c.Write(busAnswer(msg, uint32(n+1), body, failure))
				}
				cancel()
				_, _ = io.Copy(io.Discard, in)
				return true
			})
			err := onBus(t, name, address).entries[0].Collector.Collect(ctx, metric.NewBatch())
			require.ErrorIs(t, err, context.Canceled, "%s after %d answers", name, answers)
			cancel()
		}
	}
}

// A property that is refused or has another type than it should: the rest is
// served.
func TestOddProperties(t *testing.T) {
	t.Parallel()
	system := madeSystem()
	system.properties[unitPath("web.service")][systemdName+".Service.NRestarts"] = "many"
	system.properties[systemdPath][systemdManager+".Version"] = "v?"
	system.properties[systemdPath][systemdManager+".Virtualization"] = ""
	system.properties["/1"][logindName+".Session.Remote"] = "yes"
	address := newBus(t, system, nil)
	text := scrape(t, onBus(t, "systemd", address))
	require.Contains(t, text, `success{collector="systemd"} 1`)
	require.NotContains(t, text, `restart_total{name="web.service"}`)
	require.Contains(t, text, `restart_total{name="broken.service"} 7`)
	require.Contains(t, text, `node_systemd_version{version=""} 0`)
	require.Contains(t, text, `virtualization_type="none"`)
	require.NotContains(t, text, "node_systemd_timer", "so old a systemd does not know it")
	require.Contains(t, scrape(t, onBus(t, "logind", address)), `{seat="seat0",remote="false",type="wayland",class="user"} 0`)
}

// systemd at its own socket, when that is asked for and when there is no bus.
func TestSystemdItself(t *testing.T) {
	t.Parallel()
	address := newBus(t, madeSystem(), nil)
	o := hostOptions(t)
	for _, private := range []bool{true, false} {
		o.Systemd.Private, o.systemBus = private, "unix:path=/no/such/bus"
		c := newSystemd(&o).(*systemd)
		c.private, c.root = address, true
		b := metric.NewBatch()
		require.NoError(t, c.Collect(t.Context(), b))
		require.Contains(t, string(b.AppendText(nil)), `node_systemd_unit_state{name="web.service",state="active",type="notify"} 1`)
	}
	c := newSystemd(&o).(*systemd)
	c.private, c.root = address, false
	require.ErrorContains(t, c.Collect(t.Context(), metric.NewBatch()), "connecting to the system bus")
}

func TestSystemdFlags(t *testing.T) {
	t.Parallel()
	f := func(name string, want bool, args ...string) {
		t.Helper()
		o, err := parseFlags(args...)
		require.NoError(t, err)
		require.Equal(t, want, o.Systemd.Units.pass(name), "%s %v", name, args)
	}
	f("a.service", true)
	f("a.mount", false)
	f("a.mounted.service", true)
	f("a.mount", true, "--collector.systemd.unit-exclude=")
	f("a.service", false, "--collector.systemd.unit-include=a|b")
	f("a.service", true, "--collector.systemd.unit-whitelist=a.*")
	f("a.mount", false, "--collector.systemd.unit-whitelist=a.*")
	f("a.service", false, "--collector.systemd.unit-blacklist=a[.]service")
	o, err := parseFlags("--collector.systemd.private", "--collector.systemd.enable-task-metrics",
		"--collector.systemd.enable-restarts-metrics", "--collector.systemd.enable-start-time-metrics")
	require.NoError(t, err)
	require.True(t, o.Systemd.Private && o.Systemd.Tasks && o.Systemd.Restarts && o.Systemd.StartTimes)
	_, err = parseFlags("--collector.systemd.unit-whitelist=a", "--collector.systemd.unit-include=b")
	require.EqualError(t, err, `--collector.systemd.unit-whitelist="a" and --collector.systemd.unit-include="b" are the same; give the second alone`)
	_, err = parseFlags("--collector.systemd.unit-exclude=(")
	require.ErrorContains(t, err, `--collector.systemd.unit-exclude="(": error parsing regexp`)
}

// Whatever a bus sends behind the authentication, the collectors come back.
func FuzzBusAnswer(f *testing.F) {
	call := &dbus.Message{}
	f.Add(busAnswer(call, 1, []any{":1.7"}, ""))
	f.Add(append(busAnswer(call, 1, []any{":1.7"}, ""), busAnswer(call, 2, []any{madeSystem().methods[systemdPath]["ListUnits"]}, "")...))
	f.Add(busAnswer(call, 1, nil, "org.freedesktop.DBus.Error.AccessDenied"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Serials count from 1 in the order of the calls, so any can be met.
		address := newBus(t, madeObjects{}, func(c net.Conn) bool {
			if authenticate(bufio.NewReader(c), c) == nil {
				_, _ = c.Write(data)
			}
			return true
		})
		for _, name := range []string{"systemd", "logind"} {
			require.Error(t, onBus(t, name, address).entries[0].Collector.Collect(t.Context(), metric.NewBatch()))
		}
	})
}

func TestBusAddresses(t *testing.T) {
	t.Parallel()
	f := func(address, want string) {
		t.Helper()
		network, place, err := parseBusAddress(address)
		require.NoError(t, err)
		require.Equal(t, want, network+" "+place)
	}
	f("unix:path=/run/dbus/s", "unix /run/dbus/s")
	f("unix:guid=1,path=/a%20b", "unix /a b")
	f("unix:abstract=/tmp/x", "unix @/tmp/x")
	f("tcp:host=::1,port=5", "tcp [::1]:5")
	for _, address := range []string{"", "unix:", "tcp:host=a", "unix:path=%zz", "nonce"} {
		_, _, err := parseBusAddress(address)
		require.Error(t, err, address)
	}
	// The first at which someone listens.
	address := newBus(t, madeSystem(), nil)
	require.Contains(t, scrape(t, onBus(t, "logind", "unix:path=/no/such/bus;"+address)), `success{collector="logind"} 1`)
}
