package apiserver

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

func TestDecisions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testDecisions)
}

func testDecisions(t *testing.T) {
	var asked atomic.Int64
	allowed, fail := authorizer.DecisionAllow, error(nil)
	d := newDecisions(authorizer.AuthorizerFunc(func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		asked.Add(1)
		return allowed, "of " + a.GetName(), errors.Join(fail, ctx.Err())
	}), 10*time.Second, 4*time.Second)
	f := func(want authorizer.Decision, passedOn bool) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		before := asked.Load()
		got, reason, err := d.Authorize(ctx, authorizer.AttributesRecord{ResourceRequest: true, Name: "x"})
		cancel() // the request ends
		synctest.Wait()
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, "of x", reason)
		require.Equal(t, passedOn, asked.Load() > before)
	}
	f(authorizer.DecisionAllow, true)
	f(authorizer.DecisionAllow, false)
	time.Sleep(6 * time.Second)
	f(authorizer.DecisionAllow, true) // behind its back
	f(authorizer.DecisionAllow, false)
	time.Sleep(6 * time.Second) // 12 s after the first, 6 after the second
	allowed = authorizer.DecisionNoOpinion
	f(authorizer.DecisionAllow, true)
	f(authorizer.DecisionNoOpinion, false) // a right that was taken away
	time.Sleep(3 * time.Second)
	f(authorizer.DecisionNoOpinion, true)
	time.Sleep(5 * time.Second)
	allowed = authorizer.DecisionAllow
	f(authorizer.DecisionAllow, true) // it was too old to be believed

	// An error is no decision: what is known is believed until its end.
	time.Sleep(6 * time.Second)
	fail = errors.New("unreachable")
	f(authorizer.DecisionAllow, true)
	f(authorizer.DecisionAllow, false)
	time.Sleep(5 * time.Second)
	for range 2 {
		_, _, err := d.Authorize(t.Context(), authorizer.AttributesRecord{ResourceRequest: true, Name: "x"})
		require.ErrorIs(t, err, fail)
	}
}

// TestDecisionsNotRemembered holds that times of 0 remember nothing, nor does a
// question that is too long.
func TestDecisionsNotRemembered(t *testing.T) {
	t.Parallel()
	asked := 0
	next := authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		asked++
		return authorizer.DecisionAllow, "", nil
	})
	for _, c := range []struct {
		d    *decisions
		name string
	}{
		{newDecisions(next, 0, time.Hour), "x"},
		{newDecisions(next, time.Hour, time.Hour), strings.Repeat("x", maxDecisionKey)},
	} {
		asked = 0
		for range 3 {
			_, _, err := c.d.Authorize(t.Context(), authorizer.AttributesRecord{Name: c.name, ResourceRequest: true})
			require.NoError(t, err)
		}
		require.Equal(t, 3, asked)
	}
}

// TestDecisionKey holds that what a SubjectAccessReview would say differently
// is not taken for the same.
func TestDecisionKey(t *testing.T) {
	t.Parallel()
	label := func(value string) labels.Requirements {
		r, err := labels.NewRequirement("app", selection.Equals, []string{value})
		require.NoError(t, err)
		return labels.Requirements{*r}
	}
	field := func(value string) fields.Requirements {
		return fields.OneTermEqualSelector("metadata.name", value).Requirements()
	}
	users := []user.Info{
		nil,
		&user.DefaultInfo{Name: "a"}, &user.DefaultInfo{Name: "b"}, &user.DefaultInfo{Name: "a", UID: "b"},
		&user.DefaultInfo{Name: "a", Groups: []string{"b"}}, &user.DefaultInfo{Name: "a", Groups: []string{"b", "c"}},
		&user.DefaultInfo{Name: "a", Extra: map[string][]string{"b": {"c"}}},
		&user.DefaultInfo{Name: "a", Extra: map[string][]string{"b": {"c", "d"}}},
		&user.DefaultInfo{Name: "a", Extra: map[string][]string{"b": {"c"}, "d": {}}},
		&user.DefaultInfo{Name: "a", Groups: []string{"b"}, Extra: map[string][]string{"c": nil}},
	}
	whats := []authorizer.AttributesRecord{
		{}, {Verb: "get"}, {Path: "get"}, {ResourceRequest: true}, {ResourceRequest: true, Verb: "get"},
		{ResourceRequest: true, Namespace: "a"}, {ResourceRequest: true, Namespace: "b"}, {ResourceRequest: true, APIGroup: "a"},
		{ResourceRequest: true, APIVersion: "a"}, {ResourceRequest: true, Resource: "a"}, {ResourceRequest: true, Subresource: "a"},
		{ResourceRequest: true, Name: "a"}, {ResourceRequest: true, Name: "ab"}, {ResourceRequest: true, Name: "a", Subresource: "b"},
		{ResourceRequest: true, LabelSelectorRequirements: label("a")}, {ResourceRequest: true, LabelSelectorRequirements: label("b")},
		{ResourceRequest: true, FieldSelectorRequirements: field("a")}, {ResourceRequest: true, FieldSelectorRequirements: field("b")},
		{ResourceRequest: true, LabelSelectorRequirements: label("a"), FieldSelectorRequirements: field("a")},
	}
	seen := map[string]authorizer.AttributesRecord{}
	for _, u := range users {
		for _, a := range whats {
			a.User = u
			key := decisionKey(a)
			require.NotContains(t, seen, key, "%+v", a)
			require.Equal(t, key, decisionKey(a))
			seen[key] = a
		}
	}
	// The path of a request for a resource is not asked about.
	require.Equal(t, decisionKey(authorizer.AttributesRecord{ResourceRequest: true, Path: "/a"}), decisionKey(authorizer.AttributesRecord{ResourceRequest: true}))
}
