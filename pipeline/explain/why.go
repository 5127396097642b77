package explain

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// defaultDownWindow is how long the controller remembers higher recommendations
// where the object does not say.
const defaultDownWindow = 5 * time.Minute

// why says it in sentences.
func why(h *autoscalingv2.HorizontalPodAutoscaler, x *HPA) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	conditions := map[string]Condition{}
	for _, c := range x.Conditions {
		conditions[c.Type] = c
	}
	switch active := conditions[string(autoscalingv2.ScalingActive)]; {
	case x.Current == 0 && active.Reason == "ScalingDisabled":
		say("It is off: %s has 0 replicas, which turns autoscaling off until somebody sets another number.", x.Scales)
		return out
	case len(x.Conditions) == 0:
		say("The HPA controller has not looked at it yet.")
	case active.Status == "False":
		say("It does not act on its metrics (%s): %s.", active.Reason, sentence(active.Message))
	}
	say("%s", standing(x))
	for i := range x.Metrics {
		out = append(out, x.Metrics[i].sentences(h)...)
	}
	if most := decisive(x.Metrics); most != nil && len(x.Metrics) > 1 {
		say("Of its metrics the one that asks for the most decides: %s, %d.", most.title(), *most.Asks)
	}
	if able := conditions[string(autoscalingv2.AbleToScale)]; able.Status == "False" {
		say("It cannot scale (%s): %s.", able.Reason, sentence(able.Message))
	} else if able.Reason == "ScaleDownStabilized" || able.Reason == "ScaleUpStabilized" {
		say("%s", stabilized(h, able.Reason))
	}
	if limited := conditions[string(autoscalingv2.ScalingLimited)]; limited.Status == "True" {
		say("%s", limitedBy(x, limited))
	}
	return out
}

// standing is where it is and where it wants to be.
func standing(x *HPA) string {
	s := fmt.Sprintf("%s has %s", x.Scales, replicas(x.Current))
	if x.Desired != x.Current {
		s += fmt.Sprintf(" and is to have %d", x.Desired)
	} else {
		s += ", as it is to have"
	}
	s += fmt.Sprintf(" (between %d and %d)", x.Min, x.Max)
	if x.LastScaled != nil {
		s += "; it was last changed at " + clock(*x.LastScaled)
	}
	return s + "."
}

func replicas(n int32) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}

func (m *Metric) title() string {
	if m.Of == "" {
		return m.Name
	}
	return m.Name + " of " + m.Of
}

// sentences are what there is to say of one metric.
func (m *Metric) sentences(h *autoscalingv2.HorizontalPodAutoscaler) []string {
	var out []string
	last := Answer{}
	if n := len(m.Answers); n > 0 {
		last = m.Answers[n-1]
	}
	switch {
	case last.Error != "":
		out = append(out, fmt.Sprintf("%s has no value: at %s the answer was: %s.", m.title(), clock(last.Time), sentence(last.Error)))
	case m.Given == nil:
		out = append(out, fmt.Sprintf("%s has no value yet.", m.title()))
	case m.Asks == nil:
		out = append(out, fmt.Sprintf("%s is %s.", m.title(), m.amount(*m.Given)))
	default:
		out = append(out, fmt.Sprintf("%s is %s, the target %s: %s.", m.title(), m.amount(*m.Given), m.amount(m.Target), m.verdict(h)))
	}
	if last.Error == "" && last.Objects > 0 && last.AgeSeconds > 0 {
		out = append(out, fmt.Sprintf("That came from %s at %s, from samples up to %s old, by %s.",
			counted(last.Objects, "value"), clock(last.Time), seconds(last.AgeSeconds), last.Rule))
	}
	if n := len(last.Left); n > 0 {
		out = append(out, fmt.Sprintf("%s left out, since the samples are older than maxAge: %s.", counted(n, "object"), some(last.Left)))
	}
	return out
}

func (m *Metric) verdict(h *autoscalingv2.HorizontalPodAutoscaler) string {
	ratio := *m.Given / m.Target
	if within(h, ratio) {
		return "near enough to it for no change"
	}
	return fmt.Sprintf("%.0f %% of it, which asks for %s", ratio*100, replicas(*m.Asks))
}

// amount is a value in the unit that it has for people.
func (m *Metric) amount(v float64) string {
	switch {
	case m.TargetType == string(autoscalingv2.UtilizationMetricType):
		return strconv.FormatFloat(v, 'f', -1, 64) + " % of the requests"
	case m.TargetType == string(autoscalingv2.AverageValueMetricType):
		return strconv.FormatFloat(v, 'g', 6, 64) + " a pod"
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// stabilized says what the controller waits for.
func stabilized(h *autoscalingv2.HorizontalPodAutoscaler, reason string) string {
	window, rules, other := defaultDownWindow, (*autoscalingv2.HPAScalingRules)(nil), "more"
	if b := h.Spec.Behavior; b != nil {
		rules = b.ScaleDown
	}
	if reason == "ScaleUpStabilized" {
		window, other, rules = 0, "fewer", nil
		if b := h.Spec.Behavior; b != nil {
			rules = b.ScaleUp
		}
	}
	if rules != nil && rules.StabilizationWindowSeconds != nil {
		window = time.Duration(*rules.StabilizationWindowSeconds) * time.Second
	}
	return fmt.Sprintf("It waits: within the last %s (its stabilization window) its metrics asked for %s replicas.", window, other)
}

// limitedBy says which limit holds.
func limitedBy(x *HPA, c Condition) string {
	switch c.Reason {
	case "TooManyReplicas":
		return fmt.Sprintf("It is held at maxReplicas, %d: raise it if more is to be allowed.", x.Max)
	case "TooFewReplicas":
		return fmt.Sprintf("It is held at minReplicas, %d.", x.Min)
	case "ScaleUpLimit", "ScaleDownLimit":
		return "A policy of its behavior limits how fast it goes: " + sentence(c.Message) + "."
	}
	return fmt.Sprintf("It is limited (%s): %s.", c.Reason, sentence(c.Message))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// some are the first of many names.
func some(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// sentence is a message without the end of one.
func sentence(s string) string { return strings.TrimRight(strings.TrimSpace(s), ".") }

func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }

func seconds(s float64) string {
	return (time.Duration(s * float64(time.Second))).Round(100 * time.Millisecond).String()
}
