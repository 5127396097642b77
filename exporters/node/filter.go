package node

import "regexp"

// Filter chooses devices by name. At most one of its patterns is used by the
// flags, but both hold when both are given. The zero value lets all pass.
type Filter struct{ Include, Exclude *regexp.Regexp }

// pass says whether the name is wanted.
func (f Filter) pass(name string) bool {
	return (f.Exclude == nil || !f.Exclude.MatchString(name)) && (f.Include == nil || f.Include.MatchString(name))
}

// filterCache remembers what a Filter said, since the same names come at every
// scrape and matching them is most of the work.
type filterCache struct {
	filter Filter
	known  map[string]bool
}

// maxKnown bounds the memory on hosts whose names come and go.
const maxKnown = 10_000

func newFilterCache(f Filter) *filterCache { return &filterCache{filter: f, known: map[string]bool{}} }

func (c *filterCache) pass(name []byte) bool {
	if ok, known := c.known[string(name)]; known {
		return ok
	}
	if len(c.known) >= maxKnown {
		clear(c.known)
	}
	s := string(name)
	ok := c.filter.pass(s)
	c.known[s] = ok
	return ok
}

// mustPattern compiles a pattern of the source.
func mustPattern(s string) *regexp.Regexp { return regexp.MustCompile(s) }
