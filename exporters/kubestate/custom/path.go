package custom

import (
	"fmt"
	"strconv"
	"strings"
)

// path leads to a value within an object, a step for each part.
type path []step

// step is one part of a path: the key of a map or the index of a list, or a
// search in a list for the map that has a value under a key.
type step struct {
	part string

	search     bool
	key, value string
}

func newPath(parts []string) (path, error) {
	p := make(path, 0, len(parts))
	for _, part := range parts {
		s := step{part: part}
		if strings.HasPrefix(part, "[") && strings.HasSuffix(part, "]") && len(part) > 1 {
			if s.key, s.value, s.search = strings.Cut(part[1:len(part)-1], "="); !s.search {
				return nil, fmt.Errorf("%q is no search in a list: its form is [key=value]", part)
			}
		} else if key, value, ok := strings.Cut(part, "="); ok && !strings.Contains(value, "=") {
			s.key, s.value = key, value
		}
		p = append(p, s)
	}
	return p, nil
}

// String is the path as an error names it.
func (p path) String() string {
	parts := make([]string, len(p))
	for i, s := range p {
		parts[i] = s.part
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// get gives the value, nil where there is none.
func (p path) get(v any) any {
	for i := range p {
		if v == nil {
			return nil
		}
		v = p[i].get(v)
	}
	return v
}

func (s *step) get(v any) any {
	switch v := v.(type) {
	case []any:
		if s.search {
			return s.find(v)
		}
		i, err := strconv.Atoi(s.part)
		if err != nil {
			return nil
		}
		if i < 0 { // counted from the end
			i += len(v)
		}
		if i < 0 || i >= len(v) {
			return nil
		}
		return v[i]
	case map[string]any:
		if s.search {
			return nil
		}
		if s.key != "" || s.value != "" { // key=value: the value of the key, if it is that
			if got, ok := v[s.key]; ok && got == any(s.value) {
				return got
			}
		}
		return v[s.part]
	}
	return nil
}

func (s *step) find(list []any) any {
	for _, element := range list {
		m, ok := element.(map[string]any)
		if !ok {
			continue
		}
		if got, ok := m[s.key]; ok && s.equals(got) {
			return m
		}
	}
	return nil
}

// equals compares as text, as numbers or as truth values.
func (s *step) equals(got any) bool {
	switch got := got.(type) {
	case map[string]any, []any:
		return false
	case string:
		if got == s.value {
			return true
		}
	case bool:
		if want, err := strconv.ParseBool(s.value); err == nil && want == got {
			return true
		}
	}
	want, err := number(s.value, false)
	if err != nil {
		return false
	}
	is, err := number(got, false)
	return err == nil && is == want
}
