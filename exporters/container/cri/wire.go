package cri

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// value is that of one field of a message.
type value struct {
	bytes  []byte // of a string or a message
	number uint64 // of a number
}

// text gives a string of the message. The runtime's may be any bytes.
func (v value) text() string { return strings.ToValidUTF8(string(v.bytes), "\uFFFD") }

// fields hands over the fields of a message in the protobuf format whose values
// are bytes or numbers; CRI has no others that matter here.
func fields(message []byte, each func(field protowire.Number, v value) error) error {
	for len(message) > 0 {
		number, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return fmt.Errorf("reading a message: %w", protowire.ParseError(size))
		}
		message = message[size:]
		var v value
		switch kind {
		case protowire.VarintType:
			v.number, size = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			v.bytes, size = protowire.ConsumeBytes(message)
		default:
			size = protowire.ConsumeFieldValue(number, kind, message)
		}
		if size < 0 {
			return fmt.Errorf("reading field %d of a message: %w", number, protowire.ParseError(size))
		}
		message = message[size:]
		if kind == protowire.VarintType || kind == protowire.BytesType {
			if err := each(number, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// only hands over the messages of one field.
func only(message []byte, field protowire.Number, each func(message []byte) error) error {
	return fields(message, func(n protowire.Number, v value) error {
		if n == field {
			return each(v.bytes)
		}
		return nil
	})
}

// put adds an entry of a map of strings, which is a message with a key and a
// value.
func put(to *map[string]string, entry []byte) error {
	var key, text string
	err := fields(entry, func(n protowire.Number, v value) error {
		switch n {
		case 1:
			key = v.text()
		case 2:
			text = v.text()
		}
		return nil
	})
	if *to == nil {
		*to = map[string]string{}
	}
	(*to)[key] = text
	return err
}

// withText adds a field to a request.
func withText(request []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(request, field, protowire.BytesType), text)
}
