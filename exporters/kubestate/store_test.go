package kubestate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// modelled is a store beside a map that must say the same.
type modelled struct {
	store store
	model map[key][]string // lines of each family
}

const modelFamilies = 4

// render gives an object random lines, none in some families.
func (m *modelled) render(r *rand.Rand, k key) *rendered {
	families := make([]string, modelFamilies)
	for i := range families {
		if n := r.IntN(4); n > 0 {
			families[i] = strings.Repeat(fmt.Sprintf("f%d{name=%q} %d\n", i, k.name, r.IntN(3)), n)
		}
	}
	m.model[k] = families
	return renderedOf(k, families)
}

func renderedOf(k key, families []string) *rendered {
	var ends []uint32
	text := ""
	for _, lines := range families {
		text += lines
		ends = append(ends, uint32(len(text)))
	}
	return newRendered(k, "", []byte(text), ends, nil)
}

// lines are those of an object in the piece of a family.
func (m *modelled) lines(k key, family int) string {
	switch {
	case !m.store.together:
		return m.model[k][family]
	case family == 0:
		return strings.Join(m.model[k], "")
	}
	return ""
}

func (m *modelled) check(t *testing.T) {
	t.Helper()
	keys := slices.SortedFunc(maps.Keys(m.model), key.compare)
	segments := m.store.appendPieces(nil)
	require.Equal(t, len(keys) == 0, len(segments) == 0)
	for i := range modelFamilies {
		var want strings.Builder
		for _, k := range keys {
			want.WriteString(m.lines(k, i))
		}
		require.Equal(t, want.String(), contentOf(segments, i))
		at := 0
		m.store.each(i, func(o *entry, lines []byte) {
			require.Equal(t, keys[at], o.key)
			require.Equal(t, m.lines(o.key, i), string(lines))
			at++
		})
		require.Equal(t, len(keys), at)
	}
}

// TestStoreAgainstModel changes a store by chance: whatever came between two
// scrapes, each shows the last state of every object, sorted.
func TestStoreAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := &modelled{store: store{together: seed%2 == 1}, model: make(map[key][]string)}
		random := func() key { return key{fmt.Sprint("ns", r.IntN(3)), fmt.Sprint("name", r.IntN(1+20*int(seed)))} }
		for range 600 {
			switch k := random(); r.IntN(100) {
			case 0:
				var list []any
				was := maps.Clone(m.model)
				clear(m.model)
				for range r.IntN(200) {
					k := random()
					if m.model[k] != nil {
						continue
					}
					o := m.render(r, k)
					if was[k] != nil && r.IntN(4) > 0 { // most are as they were
						m.model[k] = was[k]
						o = renderedOf(k, was[k])
					}
					m.store.lighten(o)
					list = append(list, o)
				}
				require.NoError(t, m.store.Replace(list, ""))
			case 1, 2, 3, 4, 5:
				m.check(t)
			default:
				if r.IntN(5) < 2 {
					require.NoError(t, m.store.Delete(newRendered(k, "", nil, nil, nil)))
					delete(m.model, k)
				} else {
					require.NoError(t, m.store.Update(m.render(r, k)))
				}
			}
		}
		for k := range m.model {
			require.NoError(t, m.store.Delete(newRendered(k, "", nil, nil, nil)))
			delete(m.model, k)
		}
		m.check(t)
	}
}

// TestStoreShrinks holds that what is left of many objects stands in few
// segments.
func TestStoreShrinks(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	m := &modelled{model: make(map[key][]string)}
	var list []any
	for i := range 100 * perSegment {
		list = append(list, m.render(r, key{"ns", fmt.Sprintf("%05d", i)}))
	}
	require.NoError(t, m.store.Replace(list, ""))
	m.check(t)
	require.Len(t, m.store.segments, 100)
	for i, k := range slices.SortedFunc(maps.Keys(m.model), key.compare) {
		if i%8 != 0 {
			m.store.take(k)
			delete(m.model, k)
		}
	}
	m.check(t)
	require.LessOrEqual(t, len(m.store.segments), 2*100/8)
}

// TestStoreKeepsWhatIsKnown holds that what changes no line makes no work, and
// that a list that makes up for a broken watch costs what is new in it.
func TestStoreKeepsWhatIsKnown(t *testing.T) {
	t.Parallel()
	known := func(name, version string) *rendered {
		o := renderedOf(key{"ns", name}, []string{"a{name=\"" + name + "\"} 1\n"})
		o.version = version
		return o
	}
	s := &store{}
	require.NoError(t, s.Replace([]any{known("a", "1"), known("b", "2")}, ""))
	require.NoError(t, s.Update(known("a", "3")))
	require.False(t, s.segments[0].waiting)
	require.Equal(t, "3", s.segments[0].objects[0].version)

	light, other := known("a", "4"), known("b", "5")
	s.lighten(light)
	require.Nil(t, light.packed)
	require.NoError(t, s.Delete(known("b", "6")))
	s.lighten(other)
	require.NotNil(t, other.packed, "what is to go is not known")
	require.NoError(t, s.Replace([]any{light, other}, ""))
	require.Equal(t, "a{name=\"a\"} 1\na{name=\"b\"} 1\n", contentOf(s.appendPieces(nil), 0))
	require.Equal(t, "4", s.segments[0].objects[0].version)
}
