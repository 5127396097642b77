package app

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

const (
	// otherRoute is where requests are counted whose route has no place.
	otherRoute = "other"
	// placeholder stands for a part of a path that names one object.
	placeholder = "{id}"
	// restOfPath stands for what is deeper than maxDepth.
	restOfPath = "{rest}"
	maxDepth   = 8
	maxRoute   = 200 // bytes of a label value
)

// template is a route given by the user, such as /api/orders/{id}. A part in
// braces stands for one part of a path; {name...} at the end for all the rest.
type template struct {
	text  string
	parts []templatePart
	open  bool // ends in {name...}
}

// templatePart is a word, or any part that is not empty.
type templatePart struct {
	word string
	any  bool
}

// parseTemplate reads a --route.pattern.
func parseTemplate(text string) (template, error) {
	t := template{text: text}
	if !strings.HasPrefix(text, "/") || len(text) > maxRoute {
		return t, fmt.Errorf("route pattern %q (--route.pattern): a pattern begins with / and has at most %d bytes, such as /api/orders/{id}", text, maxRoute)
	}
	parts := strings.Split(text[1:], "/")
	for i, part := range parts {
		if !strings.ContainsAny(part, "{}") {
			t.parts = append(t.parts, templatePart{word: part})
			continue
		}
		inner, opened := strings.CutPrefix(part, "{")
		inner, closed := strings.CutSuffix(inner, "}")
		name, rest := strings.CutSuffix(inner, "...")
		switch {
		case !opened || !closed || name == "" || strings.ContainsAny(name, "{}"):
			return t, fmt.Errorf("route pattern %q (--route.pattern): %q is neither plain nor of the form {name}", text, part)
		case rest && i < len(parts)-1:
			return t, fmt.Errorf("route pattern %q (--route.pattern): %q stands for the rest of the path, but more follows", text, part)
		case rest:
			t.open = true
		default:
			t.parts = append(t.parts, templatePart{any: true})
		}
	}
	return t, nil
}

// matches says whether the parts of a path are of this route.
func (t *template) matches(parts []string) bool {
	if len(parts) < len(t.parts) || len(parts) > len(t.parts) && !t.open {
		return false
	}
	for i, part := range t.parts {
		if part.any && parts[i] == "" || !part.any && part.word != parts[i] {
			return false
		}
	}
	return true
}

// compare puts the more special template first.
func (t *template) compare(o *template) int {
	for i := range min(len(t.parts), len(o.parts)) {
		switch a, b := t.parts[i].any, o.parts[i].any; {
		case a && !b:
			return 1
		case b && !a:
			return -1
		}
	}
	return len(o.parts) - len(t.parts)
}

// router gives requests their value of the label route: the template that
// matches, else the path with everything that looks like the name of one
// object replaced. The number of the latter is bounded.
type router struct {
	templates []template
	limit     int

	mu    sync.RWMutex
	known map[string]string // made routes; guarded by mu
	full  uint64            // requests whose route found no place; guarded by mu
}

func newRouter(patterns []string, limit int) (*router, error) {
	r := &router{limit: limit, known: map[string]string{}}
	for _, p := range patterns {
		t, err := parseTemplate(p)
		if err != nil {
			return nil, err
		}
		r.templates = append(r.templates, t)
	}
	slices.SortStableFunc(r.templates, func(a, b template) int { return a.compare(&b) })
	return r, nil
}

// route gives the label of a request that was answered with the code. A new
// route is taken up only when the app did not say that there is none: so those
// who probe for weak spots do not use up the places.
func (r *router) route(path string, code int) string {
	if len(r.templates) > 0 {
		parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
		for i := range r.templates {
			if r.templates[i].matches(parts) {
				return r.templates[i].text
			}
		}
	}
	var room [maxRoute]byte
	made := appendRoute(room[:0], path)
	r.mu.RLock()
	route, ok := r.known[string(made)]
	r.mu.RUnlock()
	if ok {
		return route
	}
	if !proves(code) {
		return otherRoute
	}
	return r.admit(string(made))
}

func (r *router) admit(made string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if route, ok := r.known[made]; ok {
		return route
	}
	if len(r.known) >= r.limit {
		r.full++
		return otherRoute
	}
	r.known[made] = made
	return made
}

// counts gives the number of made routes, and of requests that found no place.
func (r *router) counts() (known int, full uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.known), r.full
}

// proves says whether an answer shows that the app has such a route.
func proves(code int) bool {
	return code < 400 || code >= 500 && code != 501 && code != 502 && code != 503 && code != 504 ||
		code == 401 || code == 403 || code == 409 || code == 422 || code == 429
}

// appendRoute appends a path with its changing parts replaced.
func appendRoute(dst []byte, path string) []byte {
	depth := 0
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		dst = append(dst, '/')
		depth++
		switch {
		case depth > maxDepth || len(dst)+len(part) > maxRoute-len(restOfPath):
			return append(dst, restOfPath...)
		case isObject(part):
			dst = append(dst, placeholder...)
		default:
			dst = append(dst, part...)
		}
	}
	return dst
}

// isObject says whether a part of a path looks like the name of one object and
// not like a word of the app's: numbers, dates, UUIDs, hashes, tokens, mail
// addresses, and all that no programmer would write into a route.
func isObject(part string) bool {
	const (
		longWord  = 40 // longer is a token
		longMixed = 16 // letters and digits of that length are one too
		longHex   = 8  // as is a hexadecimal number of that length
		longRun   = 4  // or digits in a row, as in order-1234
	)
	digits, run, longest, hex, letters := 0, 0, 0, 0, 0
	for i := range len(part) {
		c := part[i]
		switch {
		case c >= '0' && c <= '9':
			digits++
			hex++
			run++
			longest = max(longest, run)
			continue
		case c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
			hex++
			letters++
		case c >= 'g' && c <= 'z' || c >= 'G' && c <= 'Z':
			letters++
		case c == '-' || c == '_' || c == '.' || c == '~':
		default:
			return true
		}
		run = 0
	}
	return digits > 0 && letters == 0 ||
		digits > 0 && hex == len(part) && len(part) >= longHex ||
		digits > 0 && len(part) >= longMixed ||
		longest >= longRun || len(part) > longWord
}
