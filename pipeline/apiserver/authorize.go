package apiserver

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// How many decisions are remembered, and how long the text may be by which one
// is: it is in the hands of those who ask.
const (
	maxDecisions   = 8192
	maxDecisionKey = 10 << 10
)

// decisions remembers what a user may do, as the library does, which writes a
// SubjectAccessReview as JSON to find out that it knows it, and lets a request
// wait each time that one has become too old.
type decisions struct {
	authorizer.Authorizer
	allow, deny time.Duration // that it is believed
	known       *believed[decision]
}

type decision struct {
	authorizer.Decision
	reason string
}

func newDecisions(next authorizer.Authorizer, allow, deny time.Duration) *decisions {
	return &decisions{next, allow, deny, newBelieved[decision](maxDecisions)}
}

// Authorize implements authorizer.Authorizer.
func (d *decisions) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	key := decisionKey(a)
	if len(key) > maxDecisionKey {
		return d.Authorizer.Authorize(ctx, a)
	}
	known, again, ok := d.known.get(key)
	if !ok {
		return d.ask(ctx, key, a)
	}
	if again {
		go d.ask(context.WithoutCancel(ctx), key, a) //nolint:errcheck // what is known is believed until its end
	}
	return known.Decision, known.reason, nil
}

func (d *decisions) ask(ctx context.Context, key string, a authorizer.Attributes) (authorizer.Decision, string, error) {
	decided, reason, err := d.Authorizer.Authorize(ctx, a)
	switch {
	case err != nil:
	case decided == authorizer.DecisionAllow:
		d.known.put(key, decision{decided, reason}, d.allow)
	default:
		d.known.put(key, decision{decided, reason}, d.deny)
	}
	return decided, reason, err
}

// ConditionsAwareAuthorize implements authorizer.Authorizer.
func (d *decisions) ConditionsAwareAuthorize(ctx context.Context, a authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(d.Authorize(ctx, a))
}

// decisionKey is all that a SubjectAccessReview says of a request.
func decisionKey(a authorizer.Attributes) string {
	key := make(keyText, 0, 512)
	if u := a.GetUser(); u != nil {
		extra := u.GetExtra()
		names := slices.Sorted(maps.Keys(extra))
		key.add(u.GetName(), u.GetUID())
		key.addAll(u.GetGroups())
		key.addAll(names)
		for _, name := range names {
			key.addAll(extra[name])
		}
	}
	if !a.IsResourceRequest() {
		key.add("path", a.GetVerb(), a.GetPath())
		return string(key)
	}
	key.add("resource", a.GetVerb(), a.GetNamespace(), a.GetAPIGroup(), a.GetAPIVersion(), a.GetResource(), a.GetSubresource(), a.GetName())
	// Of a selector that cannot be read whole, the rest is asked for.
	if wanted, _ := a.GetLabelSelector(); len(wanted) > 0 {
		key.add("labels")
		for i := range wanted {
			key.add(wanted[i].String())
		}
	}
	if wanted, _ := a.GetFieldSelector(); len(wanted) > 0 {
		key.add("fields")
		for _, w := range wanted {
			key.add(w.Field, string(w.Operator), w.Value)
		}
	}
	return string(key)
}

// keyText is texts of which each says its own length, so that no two lists are
// the same bytes.
type keyText []byte

func (k *keyText) add(texts ...string) {
	for _, s := range texts {
		*k = append(binary.AppendUvarint(*k, uint64(len(s))), s...)
	}
}

// addAll adds texts and how many they are.
func (k *keyText) addAll(texts []string) {
	*k = binary.AppendUvarint(*k, uint64(len(texts)))
	k.add(texts...)
}
