package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// bus is a connection to a message bus, or to one program that speaks its
// protocol, see https://dbus.freedesktop.org/doc/dbus-specification.html. Each
// scrape has its own, so that nothing is left of a bus that was restarted.
//
// Of the library only the encoding is used: its connection reads in a goroutine
// of its own, where a wrong message would end this process.
type bus struct {
	conn   net.Conn
	in     *bufio.Reader
	serial uint32 // of the last call
	stop   func() bool
}

// busWindow is how many calls are on their way at once. The system bus refuses
// more than 128 of one connection.
const busWindow = 32

// errBusAnswer is what every error about the content of an answer is.
var errBusAnswer = errors.New("unexpected answer")

// busError is an error that the other side gave, by its name.
type busError struct{ name, text string }

func (e *busError) Error() string {
	if e.text == "" {
		return e.name
	}
	return e.name + ": " + e.text
}

// systemBusAddress is where the system bus is when no one says otherwise.
func systemBusAddress() string {
	if address := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); address != "" {
		return address
	}
	return "unix:path=/run/dbus/system_bus_socket;unix:path=/var/run/dbus/system_bus_socket"
}

// dialSystemBus connects to the bus at the address; an empty one is that of
// this machine. What waits on the connection ends with the context.
func dialSystemBus(ctx context.Context, address string) (*bus, error) {
	if address == "" {
		address = systemBusAddress()
	}
	b, err := dialPeer(ctx, address)
	if err == nil {
		var name string
		if err = b.call(ctx, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.Hello", &name); err != nil {
			b.close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to the system bus: %w", err)
	}
	return b, nil
}

// dialPeer connects to whoever listens at the first of the addresses that
// someone does, and authenticates as this user.
func dialPeer(ctx context.Context, addresses string) (*bus, error) {
	var errs error
	for address := range strings.SplitSeq(addresses, ";") {
		network, place, err := parseBusAddress(address)
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, place)
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		b := &bus{conn: conn, in: bufio.NewReader(conn)}
		b.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
		if err := b.authenticate(); err != nil {
			b.close()
			return nil, fmt.Errorf("%s: %w", address, ended(ctx, err))
		}
		return b, nil
	}
	return nil, errs
}

// parseBusAddress reads an address such as unix:path=/run/dbus/system_bus_socket.
func parseBusAddress(address string) (network, place string, err error) {
	transport, rest, _ := strings.Cut(address, ":")
	keys := map[string]string{}
	for pair := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(pair, "=")
		if keys[key], err = url.PathUnescape(value); err != nil {
			return "", "", fmt.Errorf("address %q of a bus: %w", address, err)
		}
	}
	switch {
	case transport == "unix" && keys["path"] != "":
		return "unix", keys["path"], nil
	case transport == "unix" && keys["abstract"] != "":
		return "unix", "@" + keys["abstract"], nil
	case transport == "tcp" && keys["port"] != "":
		return "tcp", net.JoinHostPort(keys["host"], keys["port"]), nil
	}
	return "", "", fmt.Errorf("address %q of a bus: only unix:path=, unix:abstract= and tcp:host=,port= are understood", address)
}

// authenticate names this user by number, which the kernel vouches for.
func (b *bus) authenticate() error {
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Getuid())))
	if _, err := io.WriteString(b.conn, "\x00AUTH EXTERNAL "+uid+"\r\n"); err != nil {
		return err
	}
	line, err := b.in.ReadSlice('\n') // no longer than the buffer
	if err != nil {
		return fmt.Errorf("authenticating: %w", err)
	}
	if !hasPrefix(line, "OK ") {
		return fmt.Errorf("authenticating as user %d: %w: %s", os.Getuid(), errBusAnswer, quote(line))
	}
	_, err = io.WriteString(b.conn, "BEGIN\r\n")
	return err
}

func (b *bus) close() {
	b.stop()
	_ = b.conn.Close()
}

// ended tells by the context why a connection broke.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer: %w", ctx.Err())
	}
	return err
}

// send sends a call and gives its number.
func (b *bus) send(destination string, path dbus.ObjectPath, method string, arguments ...any) (uint32, error) {
	dot := strings.LastIndexByte(method, '.')
	m := &dbus.Message{Type: dbus.TypeMethodCall, Body: arguments, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(destination), dbus.FieldPath: dbus.MakeVariant(path),
		dbus.FieldInterface: dbus.MakeVariant(method[:dot]), dbus.FieldMember: dbus.MakeVariant(method[dot+1:]),
	}}
	if len(arguments) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(arguments...))
	}
	var text bytes.Buffer
	if err := m.EncodeTo(&text, binary.LittleEndian); err != nil {
		return 0, err
	}
	b.serial++
	const serialAt = 8 // behind the fixed bytes and the length of the body
	binary.LittleEndian.PutUint32(text.Bytes()[serialAt:], b.serial)
	_, err := b.conn.Write(text.Bytes())
	return b.serial, err
}

// receive gives the next answer and the number of the call that it is to. The
// error of an answer is in failure.
func (b *bus) receive() (serial uint32, body []any, failure, err error) {
	for {
		m, err := dbus.DecodeMessage(b.in)
		if err != nil {
			return 0, nil, nil, err
		}
		serial, _ := m.Headers[dbus.FieldReplySerial].Value().(uint32)
		switch m.Type {
		case dbus.TypeMethodReply:
			return serial, m.Body, nil, nil
		case dbus.TypeError:
			e := &busError{}
			e.name, _ = m.Headers[dbus.FieldErrorName].Value().(string)
			if len(m.Body) > 0 {
				e.text, _ = m.Body[0].(string)
			}
			return serial, nil, e, nil
		} // signals are not for us
	}
}

// call calls a method without arguments and stores what it gives.
func (b *bus) call(ctx context.Context, destination string, path dbus.ObjectPath, method string, result any) error {
	err := b.callOnce(destination, path, method, result)
	if err != nil {
		return fmt.Errorf("%s: %w", method, ended(ctx, err))
	}
	return nil
}

func (b *bus) callOnce(destination string, path dbus.ObjectPath, method string, result any) error {
	number, err := b.send(destination, path, method)
	if err != nil {
		return err
	}
	for {
		serial, body, failure, err := b.receive()
		switch {
		case err != nil:
			return err
		case serial != number:
			continue
		case failure != nil:
			return failure
		}
		if err := dbus.Store(body, result); err != nil {
			return fmt.Errorf("%w: %w", errBusAnswer, err)
		}
		return nil
	}
}

// busProperty is a property of an object, and what the bus said of it.
type busProperty struct {
	path            dbus.ObjectPath
	interfaceOf     string
	name            string
	value           any
	err             error
	text            string // of the value, when it is one
	number          uint64 // of the value, when it is an unsigned one
	isText, numeric bool
}

// read asks for all properties of objects that one program has. An error of
// one is kept with it, and is the result unless it is of busGone.
func (b *bus) read(ctx context.Context, destination string, properties []busProperty) error {
	waiting := map[uint32]*busProperty{}
	for next := 0; next < len(properties) || len(waiting) > 0; {
		if next < len(properties) && len(waiting) < busWindow {
			p := &properties[next]
			serial, err := b.send(destination, p.path, "org.freedesktop.DBus.Properties.Get", p.interfaceOf, p.name)
			if err != nil {
				return ended(ctx, err)
			}
			waiting[serial] = p
			next++
			continue
		}
		serial, body, failure, err := b.receive()
		if err != nil {
			return ended(ctx, err)
		}
		if p := waiting[serial]; p != nil {
			p.take(body, failure)
			delete(waiting, serial)
		}
	}
	for i := range properties {
		if err := properties[i].err; err != nil && !busGone(err) {
			return err
		}
	}
	return nil
}

func (p *busProperty) take(body []any, err error) {
	var v dbus.Variant
	if err == nil {
		err = dbus.Store(body, &v)
	}
	if err != nil {
		p.err = fmt.Errorf("property %s of %s: %w", p.name, p.path, err)
		return
	}
	p.value = v.Value()
	p.text, p.isText = p.value.(string)
	switch n := p.value.(type) {
	case uint32:
		p.number, p.numeric = uint64(n), true
	case uint64:
		p.number, p.numeric = n, true
	}
}

// busGone says that an object went meanwhile, or that the program is too old to
// have the property.
func busGone(err error) bool {
	var e *busError
	if !errors.As(err, &e) {
		return false
	}
	switch e.name {
	case "org.freedesktop.DBus.Error.UnknownObject", "org.freedesktop.DBus.Error.UnknownProperty",
		"org.freedesktop.DBus.Error.UnknownInterface", "org.freedesktop.DBus.Error.UnknownMethod",
		"org.freedesktop.DBus.Error.InvalidArgs", "org.freedesktop.systemd1.NoSuchUnit",
		"org.freedesktop.systemd1.LoadFailed", "org.freedesktop.login1.NoSuchSession":
		return true
	}
	return false
}
