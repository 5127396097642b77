package explain

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestText: what happened is one table in the order of time; of many answers
// some are shown, and each beginning and end of errors.
func TestText(t *testing.T) {
	t.Parallel()
	h := &HPA{
		Namespace: "shop", Name: "web", Scales: "Deployment/web", Why: []string{"It waits."}, Notes: []string{"no events"},
		Metrics: []Metric{
			{Type: "Pods", Name: "rps"},
			{Type: "Object", Name: "rate", Of: "Service/web", Answers: []Answer{{Time: ago(40), Value: 7, Objects: 1, AgeSeconds: 2.04}}},
		},
		Events:   []Event{{Time: ago(50), Reason: "SuccessfulRescale", Message: "New size: 3\nreason", Count: 2}},
		Replicas: []Replicas{{Time: ago(45), Current: 2, Desired: 3}},
	}
	m := &h.Metrics[0]
	for i := range 100 {
		m.Answers = append(m.Answers, Answer{Time: ago(1100 - 10*i), Value: 30, Objects: 3, AgeSeconds: 4})
	}
	m.Answers[90] = Answer{Time: ago(200), Error: "too old."}
	m.Answers[91] = Answer{Time: ago(190), Error: "too old."}
	m.Answers[98].Objects = 0
	m.Answers[99].Left = []string{"web-1"}
	var b strings.Builder
	require.NoError(t, h.Text(&b))
	text := b.String()
	require.True(t, strings.HasPrefix(text, "shop/web scales Deployment/web\n\n  It waits.\n  Note: no events\n\nTIME "), text)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	tail := []string{
		"11:56:40Z  rps                 too old",
		"11:57:00Z  rps                 10 a pod of 3, up to 4s old",
		"11:57:20Z  rps                 10 a pod of 3, up to 4s old",
		"11:58:10Z  rps                 10 a pod of 3, up to 4s old, 1 left out",
		"11:59:10Z  SuccessfulRescale   New size: 3 reason (2 times)",
		"11:59:15Z  replicas            2, 3 wanted",
		"11:59:20Z  rate of Service/web 7, up to 2s old",
	}
	got := lines[len(lines)-len(tail):]
	for i := range tail {
		require.Equal(t, strings.Fields(tail[i]), strings.Fields(got[i]))
	}
	require.Less(t, len(lines), 35)
	require.Equal(t, ago(40), h.LastAnswer())

	b.Reset()
	require.NoError(t, (&HPA{}).Text(&b))
	require.Contains(t, b.String(), "Nothing happened in this time.")
	require.Error(t, h.Text(broken{}))
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
