// Package cri asks a container runtime by the Container Runtime Interface v1
// (k8s.io/cri-api, pkg/apis/runtime/v1/api.proto) for the little that an exporter
// needs of it. It speaks gRPC over net/http's HTTP/2 and reads the messages field
// by field: with the client of google.golang.org/grpc and the types of all of CRI
// strata-container would take 1.5 MB more memory on each node, a tenth of all.
package cri

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// Errors that a runtime answers, by the codes of gRPC, see
// https://grpc.io/docs/guides/status-codes. Those that are none of these are
// ErrRefused: it was asked, and does not tell.
var (
	ErrNotFound      = errors.New("not found")
	ErrUnimplemented = errors.New("not implemented")
	ErrUnavailable   = errors.New("unavailable")
	ErrRefused       = errors.New("refused")
)

// errAnswer says that an answer is not of gRPC.
var errAnswer = errors.New("not an answer of gRPC")

// maxMessage bounds a message of the runtime in bytes; it is what 20,000
// containers with a kilobyte of labels each need.
const maxMessage = 32 << 20

// Client asks the runtime at one socket. It may be used by several goroutines at
// once. It dials when there is something to ask, and again when the runtime was
// started again.
type Client struct {
	http      http.Client
	transport *http.Transport
}

// NewClient makes a Client for the path of a socket.
func NewClient(path string) *Client {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols: protocols, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}
	return &Client{http: http.Client{Transport: transport}, transport: transport}
}

// Close ends the connection once nothing is asked any more.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// ask calls a method that has one answer, and hands it over.
func (c *Client) ask(ctx context.Context, method string, request []byte, read func(message []byte) error) error {
	answer, err := c.call(ctx, method, request)
	if err != nil {
		return err
	}
	defer answer.close()
	message, err := answer.next()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errAnswer // it says that all is well, and nothing else
		}
		return err
	}
	if err := read(message); err != nil {
		return err
	}
	if _, err := answer.next(); !errors.Is(err, io.EOF) {
		return cmp.Or(err, errAnswer)
	}
	return nil
}

// call begins a call, see
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
func (c *Client) call(ctx context.Context, method string, request []byte) (*answer, error) {
	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(request)))
	body = append(body, request...)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/runtime.v1."+method, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	response, err := c.http.Do(r)
	if err != nil {
		var from *url.Error
		if errors.As(err, &from) {
			err = from.Err // without the address, which is made up
		}
		return nil, err
	}
	a := &answer{response: response}
	if response.StatusCode != http.StatusOK {
		a.close()
		return nil, fmt.Errorf("%w: HTTP status %s", errAnswer, response.Status)
	}
	return a, nil
}

// answer are the messages of an answer.
type answer struct {
	response *http.Response
	message  []byte
}

func (a *answer) close() { _ = a.response.Body.Close() }

// next gives the next message, valid until the one after it. After the last one
// the error is io.EOF if the runtime says that all went well.
func (a *answer) next() ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(a.response.Body, head[:]); errors.Is(err, io.EOF) {
		return nil, a.status()
	} else if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	switch {
	case head[0] != 0:
		return nil, fmt.Errorf("%w: it is compressed", errAnswer)
	case size > maxMessage:
		return nil, fmt.Errorf("an answer of %d bytes is longer than the %d that are read", size, maxMessage)
	}
	// Not allocated by the size that is said, which may be a lie.
	message := bytes.NewBuffer(a.message[:0])
	if _, err := io.CopyN(message, a.response.Body, int64(size)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading an answer of %d bytes: %w", size, err)
	}
	a.message = message.Bytes()
	return a.message, nil
}

// status is how the call ended, as the trailers say, or the headers of an answer
// that has no messages.
func (a *answer) status() error {
	said := a.response.Trailer
	if said.Get("Grpc-Status") == "" {
		said = a.response.Header
	}
	code, err := strconv.Atoi(said.Get("Grpc-Status"))
	if err != nil {
		return fmt.Errorf("%w: it ends without a status", errAnswer)
	}
	text := said.Get("Grpc-Message")
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	kind := ErrRefused
	switch code {
	case 0:
		return io.EOF
	case 5:
		kind = ErrNotFound
	case 12:
		kind = ErrUnimplemented
	case 4, 14: // a deadline of its own has passed, or it is about to end
		kind = ErrUnavailable
	}
	return fmt.Errorf("%w: code %d: %s", kind, code, text)
}
