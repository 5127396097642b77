package main

import (
	"strconv"

	"k8s.io/apimachinery/pkg/runtime"
)

// kept is how many changes of a resource can still be asked for. Who comes back
// for an older one is told that it is gone.
const kept = 20_000

// journal is what has happened to the objects of a resource.
type journal struct {
	events    []event
	forgotten int  // the version up to which changes are not kept
	gone      bool // whoever comes next is told that the version is gone
	refused   int  // how many were told
	cut       chan struct{}
}

// event is a change, in the words of a watch.
type event struct {
	version int
	kind    string
	object  runtime.Object
}

func newJournal() *journal { return &journal{cut: make(chan struct{})} }

// add notes a change and drops the oldest.
func (j *journal) add(e event) {
	if j.events = append(j.events, e); len(j.events) > 2*kept {
		j.forgotten = j.events[kept-1].version
		j.events = append([]event(nil), j.events[kept:]...)
	}
}

// after gives the changes behind a version.
func (j *journal) after(version int) []event {
	i := len(j.events)
	for i > 0 && j.events[i-1].version > version {
		i--
	}
	return j.events[i:]
}

// drop breaks all watches. With gone, the next that begins is told 410.
func (j *journal) drop(gone bool) {
	close(j.cut)
	j.cut, j.gone = make(chan struct{}), gone
}

// drop breaks all watches of a resource.
func (s *apiServer) drop(plural string, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journals[plural].drop(gone)
}

// note numbers an object and tells the watches. The lock is held.
func (s *apiServer) note(plural, kind string, o runtime.Object) {
	s.number(o)
	s.journals[plural].add(event{version: s.version, kind: kind, object: o})
	close(s.changed)
	s.changed = make(chan struct{})
}

// snapshot is a list that is given by pages, as of when its first was asked for.
type snapshot struct {
	objects []runtime.Object
	version int
}

// page gives the objects of a page and what continues it.
func (s *apiServer) page(plural, from string, limit int) (page []runtime.Object, version int, next string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, at := snapshot{s.objects[plural], s.version}, 0
	if from != "" {
		at, _ = strconv.Atoi(from)
		all = s.snapshots[plural]
	} else if limit > 0 {
		all.objects = append([]runtime.Object(nil), all.objects...)
		s.snapshots[plural] = all
	}
	end := len(all.objects)
	if limit > 0 && at+limit < end {
		end = at + limit
		next = strconv.Itoa(end)
	}
	return append([]runtime.Object(nil), all.objects[at:end]...), all.version, next
}
