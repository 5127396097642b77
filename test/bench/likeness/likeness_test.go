package likeness

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func parsed(t *testing.T, text string) Body {
	t.Helper()
	body, err := Parse("# TYPE c counter\n# TYPE g gauge\n" + text)
	require.NoError(t, err)
	return body
}

func TestParse(t *testing.T) {
	t.Parallel()
	body := parsed(t, "c{b=\"\\\"} \\\\,\",a=\"1\",none=\"\"} 3 1500\ng{} 4e+06\nplain NaN\n")
	require.Len(t, body, 3)
	require.Equal(t, Sample{Name: "c", Type: "counter", Labels: map[string]string{"a": "1", "b": "\"} \\,"}, Value: 3, Time: time.UnixMilli(1500)},
		body[`c{a="1",b="\"} \\,"}`])
	require.Equal(t, 4e6, body["g{}"].Value)
	for _, bad := range []string{"g", "g{", "g{a} 1", "g{a=\"1\" 1", "g{a=\"1\"}", "g x", "g 1 x", "g 1 2 3", "g 1\ng 2", `g{a="1",} 1` + "\n" + `g{a="1"} 1`} {
		_, err := Parse(bad)
		require.Error(t, err, bad)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("# TYPE c counter\nc{a=\"1\",} 2 3\n")
	f.Add("c{")
	f.Fuzz(func(t *testing.T, text string) {
		body, err := Parse(text)
		if err == nil {
			for series, s := range body {
				require.Equal(t, series, s.series())
			}
		}
	})
}

func TestCompare(t *testing.T) {
	t.Parallel()
	allowed := []Difference{
		{Kind: Missing, Family: "c*", Where: func(s Sample) bool { return s.Labels["known"] != "" }, Why: "known"},
		{Kind: Added, Family: "own", Why: "ours alone"},
	}
	tolerances := []Tolerance{{Family: "near", By: 2, Share: 0.1}}
	f := func(before, ours, after string, right, of, differs int, wrong ...string) {
		t.Helper()
		r := Readings{parsed(t, before), parsed(t, ours), parsed(t, after)}.Compare(allowed, tolerances)
		require.Equal(t, []int{right, of, differs}, []int{r.Right, r.Of, r.Differs}, r.Wrong)
		require.Equal(t, wrong, r.Wrong)
		if len(wrong) > 0 || right == 0 {
			require.Error(t, r.Err())
		} else {
			require.NoError(t, r.Err())
		}
	}
	f("c 1\ng 5", "c 1\ng 4", "c 2\ng 3", 2, 2, 0)
	f("c 1", "c 3", "c 2", 0, 1, 0, "value: c{} is 3, not from 1 to 2")
	f("c 2", "c 1", "c 1", 0, 1, 0, "value: c{} is 1, not from 2 to 1") // theirs went back
	f("g 2", "g 1", "g 3", 0, 1, 0, "value: g{} is 1, not from 2 to 3")
	f("near 100", "near 112", "near 100", 1, 1, 0)
	f("near 100", "near 113", "near 100", 0, 1, 0, "value: near{} is 113, not from 100 to 100")
	f("g 1\ng{a=\"1\"} 1", "g 1", "g 1\ng{a=\"1\"} 1", 1, 2, 0, `missing: g{a="1"} 1`)
	f("g 1\nc{known=\"1\"} 1", "g 1\nown 2", "g 1\nc{known=\"1\"} 1", 1, 3, 2)
	f("g 1", "g 1\nc 1", "g 1", 1, 2, 0, "added: c{} 1")
	f("g 1\nc{pod=\"gone\"} 1", "g 1\nc{pod=\"new\"} 1", "g 1\nc{pod=\"new\"} 1", 1, 1, 0) // came and went
	f("", "", "", 0, 0, 0)
}

func TestSum(t *testing.T) {
	t.Parallel()
	one := Readings{parsed(t, "g 1"), parsed(t, "g 1\nown 2\nc 1"), parsed(t, "g 1")}.Compare([]Difference{{Kind: Added, Family: "own", Why: "ours"}}, nil)
	var sum Result
	sum.Add(one)
	sum.Add(one)
	require.Equal(t, []int{2, 6, 2}, []int{sum.Right, sum.Of, sum.Differs})
	var out bytes.Buffer
	sum.Print(&out)
	require.Equal(t, "# 2: ours\n# added: c{} 1\n# added: c{} 1\n", out.String())
	require.Error(t, sum.Err())
}
