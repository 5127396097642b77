package node

import (
	"bytes"
	"strings"
)

// mount is a line of mountinfo, whose form is in proc_pid_mountinfo(5).
type mount struct {
	major, minor string
	point        string // as the process sees it, unescaped
	device       string // as it stands there: node_exporter does not unescape it
	fsType       string
	address      string // of the server of a network file system, from the option addr
	readOnly     bool
}

// parseMountinfo appends the mounts to dst, up to the first wrong line.
func parseMountinfo(path string, data []byte, dst []mount) ([]mount, error) {
	l := newLines(path, data)
	for l.next() {
		m, problem := parseMount(l.line)
		if problem != "" {
			return dst, l.errorf("%s in %s", problem, quote(l.line))
		}
		dst = append(dst, m)
	}
	return dst, l.end()
}

// parseMount reads one line, or says what is wrong with it.
func parseMount(line []byte) (m mount, problem string) {
	const fixed = 6 // fields before the optional ones
	var f [fixed][]byte
	rest := line
	for i := range f {
		f[i], rest = field(rest)
	}
	major, minor, ok := bytes.Cut(f[2], []byte(":"))
	if !ok || !digits(major) || !digits(minor) {
		return m, "no device number"
	}
	if len(f[4]) == 0 || len(f[5]) == 0 {
		return m, "no mount point or options"
	}
	for tag := []byte(nil); string(tag) != "-"; { // shared:1 and the like
		if tag, rest = field(rest); len(tag) == 0 {
			return m, "no separator"
		}
	}
	fsType, rest := field(rest)
	device, rest := field(rest)
	super, _ := field(rest)
	if len(fsType) == 0 {
		return m, "no file system type"
	}
	return mount{
		major: string(major), minor: string(minor),
		point:  unescape(f[4]),
		device: string(device),
		fsType: string(fsType),

		address: optionValue(super, "addr"),
		// emergency_ro is what ext4 says of itself after an error.
		readOnly: hasOption(f[5], "ro") || hasOption(super, "ro") || hasOption(super, "emergency_ro"),
	}, ""
}

func digits(s []byte) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) > 0
}

// hasOption says whether a list such as rw,relatime has the option.
func hasOption(list []byte, option string) bool {
	for part := range bytes.SplitSeq(list, []byte(",")) {
		if string(part) == option {
			return true
		}
	}
	return false
}

// optionValue gives what an option such as addr=10.0.0.1 in a list is set to.
// It is empty when the list does not have the option.
func optionValue(list []byte, option string) string {
	for part := range bytes.SplitSeq(list, []byte(",")) {
		if name, value, ok := bytes.Cut(part, []byte("=")); ok && string(name) == option {
			return string(value)
		}
	}
	return ""
}

// unescape turns the kernel's \040 and the like into the bytes they stand for.
func unescape(s []byte) string {
	if bytes.IndexByte(s, '\\') < 0 {
		return string(s)
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1:i+4]) {
			out.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// octal says whether three digits are a byte.
func octal(s []byte) bool {
	for i, c := range s {
		if c < '0' || c > '7' || i == 0 && c > '3' {
			return false
		}
	}
	return true
}
