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
	var ends []uint32
	text := ""
	for i := range families {
		if n := r.IntN(4); n > 0 {
			families[i] = strings.Repeat(fmt.Sprintf("f%d{name=%q} %d\n", i, k.name, r.IntN(3)), n)
		}
		text += families[i]
		ends = append(ends, uint32(len(text)))
	}
	m.model[k] = families
	return newRendered(k, "", []byte(text), ends, nil)
}

func (m *modelled) check(t *testing.T) {
	t.Helper()
	keys := slices.SortedFunc(maps.Keys(m.model), key.compare)
	segments := m.store.appendPieces(nil)
	require.Equal(t, len(keys) == 0, len(segments) == 0)
	for i := range modelFamilies {
		var want strings.Builder
		for _, k := range keys {
			want.WriteString(m.model[k][i])
		}
		require.Equal(t, want.String(), contentOf(segments, i))
		at := 0
		m.store.each(i, func(o *entry, lines []byte) {
			require.Equal(t, keys[at], o.key)
			require.Equal(t, m.model[o.key][i], string(lines))
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
		m := &modelled{model: make(map[key][]string)}
		random := func() key { return key{fmt.Sprint("ns", r.IntN(3)), fmt.Sprint("name", r.IntN(1+20*int(seed)))} }
		for range 600 {
			switch k := random(); r.IntN(100) {
			case 0:
				var list []any
				clear(m.model)
				for range r.IntN(200) {
					if k := random(); m.model[k] == nil {
						list = append(list, m.render(r, k))
					}
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
