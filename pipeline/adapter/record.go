package adapter

import (
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	klabels "k8s.io/apimachinery/pkg/labels"

	"github.com/strata-metrics/strata/pipeline/journal"
)

// record is the entry of the journal that an answer becomes; nil where the
// question came from no autoscaler.
type record struct {
	journal *journal.Journal
	entry   *journal.Entry
}

// record begins one. What the selectors say is only rendered when it is needed.
func (a *Adapter) record(ctx context.Context, q journal.Question, objects, metric klabels.Selector) *record {
	who := a.journal.Asker(ctx)
	if who == "" {
		return nil
	}
	for to, s := range map[*string]klabels.Selector{&q.Selector: objects, &q.MetricSelector: metric} {
		if s != nil {
			*to = s.String()
		}
	}
	return &record{journal: a.journal, entry: &journal.Entry{Time: a.now(), Question: q, Requester: who, Values: []journal.Value{}}}
}

// found takes over answers.
func (r *record) found(answers ...Answer) {
	if r == nil {
		return
	}
	r.entry.Values = slices.Grow(r.entry.Values, len(answers))
	for i := range answers {
		ans := &answers[i]
		v := journal.Value{Object: ans.Object, Value: ans.Value, Time: ans.Time, Stale: ans.Stale()}
		if ans.Object == "" && len(ans.Labels) > 0 {
			v.Object = labels.FromMap(ans.Labels).String()
		}
		r.entry.Values = append(r.entry.Values, v)
		r.entry.Rule = ans.Rule.ID()
	}
}

// end puts it into the journal, with the error that the answer was.
func (r *record) end(err *error) {
	if r == nil {
		return
	}
	if *err != nil {
		r.entry.Error = (*err).Error()
	}
	r.journal.Record(r.entry)
}
