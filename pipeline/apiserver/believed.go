package apiserver

import (
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
)

// believed remembers answers for a time. An answer that is used in the second
// half of it is to be asked for again while it is still believed, so that who
// asks often never waits for one.
type believed[A any] struct {
	known *cache.LRUExpireCache // of *belief[A], by key
}

type belief[A any] struct {
	answer A
	again  time.Time
	asked  atomic.Bool // again
}

func newBelieved[A any](most int) *believed[A] {
	return &believed[A]{cache.NewLRUExpireCache(most)}
}

// get is what is believed of a key. Again is true for one of those who get it
// late: it asks and tells by put or forget.
func (b *believed[A]) get(key string) (answer A, again, ok bool) {
	found, ok := b.known.Get(key)
	if !ok {
		return answer, false, false
	}
	k := found.(*belief[A])
	return k.answer, !time.Now().Before(k.again) && k.asked.CompareAndSwap(false, true), true
}

// put lets an answer be believed for a time; not at all when that is not above 0.
func (b *believed[A]) put(key string, answer A, d time.Duration) {
	if d <= 0 {
		b.forget(key)
		return
	}
	b.known.Add(key, &belief[A]{answer: answer, again: time.Now().Add(d / 2)}, d)
}

func (b *believed[A]) forget(key string) { b.known.Remove(key) }
