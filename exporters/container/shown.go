package container

import (
	"slices"

	"github.com/strata-metrics/strata/internal/metric"
)

// shownFamily is a family of one body with the row of the table that fills it.
type shownFamily struct {
	declared
	family *metric.Family // nil where its group is off
}

// body is the families of one endpoint. They differ between endpoints in the
// labels that say which container it is.
type body struct {
	groups   group
	rows     []shownFamily
	network  []shownFamily
	labelled []shownFamily // by kind
	machine  []shownFamily // by machineKind
	ended    []shownFamily // as in endedTable; not cAdvisor's
	// oomKills and reclaimable are not cAdvisor's.
	oomKills, reclaimable *metric.Family
	seen                  *metric.Family
	failed                *metric.Family
	broken                *metric.Family // of the machine
}

// declarer makes each family once.
type declarer struct {
	groups group
	made   map[string]*metric.Family
	err    error
}

func (d *declarer) family(row declared, base []string) *metric.Family {
	if d.err != nil || row.group != 0 && row.group&d.groups == 0 {
		return nil
	}
	if f := d.made[row.name]; f != nil {
		return f
	}
	f, err := metric.New(metric.Spec{Name: row.name, Help: row.help, Type: row.typ, Unit: row.unit, Labels: slices.Concat(base, row.labels)})
	d.made[row.name], d.err = f, err
	return f
}

// table makes families of rows; keep says to keep the places of those that are
// off.
func (d *declarer) table(rows []declared, base []string, keep bool) []shownFamily {
	var out []shownFamily
	for _, row := range rows {
		if f := d.family(row, base); f != nil || keep {
			out = append(out, shownFamily{declared: row, family: f})
		}
	}
	return out
}

// newBody declares the families of the chosen groups, their labels led by base.
func newBody(base []string, groups group) (*body, error) {
	if groups&groupCPU == 0 {
		groups &^= groupPerCPU // there is no family for it
	}
	d := &declarer{groups: groups, made: map[string]*metric.Family{}}
	b := &body{
		groups: groups,
		rows:   d.table(table(), base, false), network: d.table(networkTable(), base, false),
		labelled: d.table(labelledTable(), base, true), machine: d.table(machineTable(), machineLabels(), true),
		ended: d.table(endedTable(), base, true), oomKills: d.family(oomKillsFamily(), nil), reclaimable: d.family(reclaimableFamily(), base),
		seen: d.family(lastSeen(), base), failed: d.family(scrapeError(), nil), broken: d.family(machineError(), nil),
	}
	return b, d.err
}

// families lists what the body can show of cAdvisor's.
func (b *body) families() []*metric.Family {
	out := []*metric.Family{b.seen, b.failed, b.broken}
	for _, row := range slices.Concat(b.rows, b.network, b.labelled, b.machine) {
		if row.family != nil && !slices.Contains(out, row.family) {
			out = append(out, row.family)
		}
	}
	return out
}
