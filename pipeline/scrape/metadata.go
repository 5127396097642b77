package scrape

import (
	"sync"
	"time"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
)

// How long the type of a family is remembered, since finding it can take a look
// at every target of a job: one that targets told seldom changes, one that none
// told may come with the next scrape.
const (
	typeFor   = time.Minute
	noTypeFor = 5 * time.Second
	maxTypes  = 1 << 15
)

// types are the types of metric families, by job.
type types struct {
	mu    sync.Mutex // guards known, not held while targets are looked at
	known map[typeKey]knownType
}

type typeKey struct{ job, family string }

type knownType struct {
	is    model.MetricType
	until time.Time
}

func (t *types) get(k typeKey, now time.Time) (model.MetricType, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.known[k]
	return known.is, ok && now.Before(known.until)
}

func (t *types) put(k typeKey, is model.MetricType, now time.Time) {
	until := now.Add(typeFor)
	if is == model.MetricTypeUnknown {
		until = now.Add(noTypeFor)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil || len(t.known) >= maxTypes {
		t.known = map[typeKey]knownType{}
	}
	t.known[k] = knownType{is: is, until: until}
}

// MetricType is what targets of a job said of a metric family when they were
// last scraped; model.MetricTypeUnknown when none said anything. Of a job that
// does not exist, whose name relabelling has made, all targets are asked. It may
// be a minute behind.
func (s *Scraper) MetricType(job, family string) model.MetricType {
	k, now := typeKey{job, family}, time.Now()
	if is, ok := s.types.get(k, now); ok {
		return is
	}
	is := model.MetricTypeUnknown
	all := s.Manager.TargetsActive()
	if of, ok := all[job]; ok {
		all = map[string][]*promscrape.Target{job: of}
	}
	for _, targets := range all {
		for _, t := range targets {
			if m, ok := t.GetMetadata(family); ok && m.Type != model.MetricTypeUnknown && m.Type != "" {
				is = m.Type
				break
			}
		}
	}
	s.types.put(k, is, now)
	return is
}
