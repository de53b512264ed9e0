package main

import (
	"fmt"
	"sort"

	"github.com/anishathalye/porcupine"
)

// The kinds of operations of the model.
type kind int

const (
	commit    kind = iota // a participation begins to exist
	replay                // a further response that says accepted
	giveUp                // a participation returns its units
	cancelled             // a response that says cancelled
	refusal               // a response that says no
	reading               // the stock is read
	last                  // all participations are read
)

// operation is the input of a step. The outputs are part of it, because what happened is known afterwards.
type operation struct {
	campaign *Campaign
	kind     kind
	line     *Line // the request and its response, if there is one
	row      *row
	rows     []*row // all of the campaign
	user     int
	key      int // -1: none

	// Units that may be held without a participation, of all users and of this one.
	ghosts, ghostsOfUser int64
	lagging              []*row // given up, perhaps not noticed by the gate yet
	lastAttempt          int64  // of a commit with a key: the latest call that can have caused it
	isUnasked            bool   // of a giveUp: nobody asked for it
	least, most          int64  // of a reading
}

// row is a participation: of the last reading, or of a response.
type row struct {
	Line
	number    int // in order of rank
	user, key int
	isListed  bool
	isPhantom bool // no request can have caused it
	isRankNew bool // no other participation has this rank

	causes       []*Line // requests that can have caused it
	said         *Line   // the first response that accepts it, if it is the first that names it
	earliest     int64   // call of the first of them
	latest       int64   // return of the first response that names it
	giveUpCall   int64
	giveUpReturn int64
	isReturned   bool
	isAsked      bool // somebody asked for its cancellation
}

func (row *row) isGivenUp() bool { return row.Status == "cancelled" || row.Status == "expired" }

// isSaidBy is whether a response that accepts has the values of the participation.
func (row *row) isSaidBy(line *Line) bool {
	isSame := row.User == line.User && row.Quantity == line.Quantity && row.Rank == line.Rank
	return isSame && (row.Remaining == nil || line.Remaining == nil || *row.Remaining == *line.Remaining)
}

type resolver struct {
	campaign *Campaign
	users    map[int64]int
	keys     map[string]int
	rows     map[string]*row
	sorted   []*row
	accepts  map[int]bool    // keys with a response that accepts
	unknowns map[int][]*Line // requests without a known outcome, by user
	undone   []*Line         // those that may have led to nothing
	repeated []*Line         // requests with a key that was used before, or may have been
	history  []porcupine.Operation
}

// Resolve turns what clients saw of a campaign into operations of the model.
//
// A request without a known outcome either led to a participation of the last reading or to none. So each participation
// is one `commit`, between the first call that can have caused it and the first response that names it. That leaves
// Porcupine to find the order, and not to guess what happened.
func Resolve(campaign *Campaign) []porcupine.Operation {
	resolver := &resolver{
		campaign: campaign, users: map[int64]int{}, keys: map[string]int{}, rows: map[string]*row{},
		accepts: map[int]bool{}, unknowns: map[int][]*Line{},
	}
	resolver.collectRows()
	resolver.findCauses()
	resolver.bound()
	resolver.emitRows()
	resolver.emitResponses()
	return resolver.history
}

func (resolver *resolver) user(id int64) int {
	if _, isKnown := resolver.users[id]; !isKnown {
		resolver.users[id] = len(resolver.users)
	}
	return resolver.users[id]
}

// key numbers a key of a user; -1: none.
func (resolver *resolver) key(line *Line) int {
	if line.Key == "" {
		return -1
	}
	name := fmt.Sprint(line.User, "/", line.Key)
	if _, isKnown := resolver.keys[name]; !isKnown {
		resolver.keys[name] = len(resolver.keys)
	}
	return resolver.keys[name]
}

func (resolver *resolver) collectRows() {
	campaign := resolver.campaign
	add := func(line Line, isListed bool) {
		if resolver.rows[line.ID] != nil {
			return
		}
		row := &row{Line: line, user: resolver.user(line.User), key: -1, isListed: isListed, latest: campaign.End.Return}
		resolver.rows[line.ID] = row
		resolver.sorted = append(resolver.sorted, row)
	}
	for _, line := range campaign.Listed {
		add(line, true)
	}
	// A response that accepts makes a participation, even if the last reading lacks it: the model finds that.
	for nth := range campaign.Requests {
		line := &campaign.Requests[nth]
		switch line.Outcome {
		case accepted:
			add(*line, false)
			row := resolver.rows[line.ID]
			row.causes = append(row.causes, line)
			row.latest = min(row.latest, line.Return)
			if key := resolver.key(line); key >= 0 {
				row.key = key
				resolver.accepts[key] = true
			}
		case unknown:
			user := resolver.user(line.User)
			resolver.unknowns[user] = append(resolver.unknowns[user], line)
		}
	}
	sort.SliceStable(resolver.sorted, func(one, other int) bool {
		return resolver.sorted[one].Rank < resolver.sorted[other].Rank
	})
	previous := int64(0)
	for nth, row := range resolver.sorted {
		row.number = nth
		row.isRankNew = row.Rank > previous
		previous = row.Rank
	}
}

// findCauses assigns the requests without a known outcome to participations. A request is a candidate for each
// participation that it can have caused, so the model checks a little less where there are several.
func (resolver *resolver) findCauses() {
	unexplained := map[int]int{}
	for _, row := range resolver.sorted {
		isExplained := len(row.causes) > 0
		attempts := map[string]bool{} // keys, and calls without a key
		for _, line := range resolver.unknowns[row.user] {
			key := resolver.key(line)
			isOfKey := isExplained && key >= 0 && key == row.key
			isFree := !isExplained && line.Quantity == row.Quantity && (key < 0 || !resolver.accepts[key])
			if isOfKey || isFree {
				row.causes = append(row.causes, line)
				name := line.Key
				if key < 0 {
					name = fmt.Sprint("without a key at ", line.Call)
				}
				attempts[name] = true
			}
		}
		if isExplained {
			continue
		}
		unexplained[row.user]++
		row.isPhantom = len(attempts) < unexplained[row.user]
		if len(attempts) == 1 && !row.isPhantom {
			row.key = resolver.key(row.causes[0])
		}
	}
	// Any other request without a known outcome may have held units in vain, unless it is the only cause of a row.
	isDone := map[*Line]bool{}
	for _, row := range resolver.sorted {
		if len(row.causes) == 1 {
			isDone[row.causes[0]] = true
		}
	}
	for nth := range resolver.campaign.Requests {
		line := &resolver.campaign.Requests[nth]
		isFirst := line.Outcome == accepted && len(resolver.rows[line.ID].causes) == 1
		if line.Key != "" && (line.Outcome == accepted && !isFirst || line.Outcome == conflict) {
			resolver.repeated = append(resolver.repeated, line)
		}
	}
	for _, lines := range resolver.unknowns {
		for _, line := range lines {
			if !isDone[line] {
				resolver.undone = append(resolver.undone, line)
			}
		}
	}
}

// bound finds the interval in which each participation began, and the one in which it was given up.
func (resolver *resolver) bound() {
	end := resolver.campaign.End
	for nth := range resolver.campaign.Requests {
		line := &resolver.campaign.Requests[nth]
		if row := resolver.rows[line.ID]; row != nil && line.Outcome == already {
			row.latest = min(row.latest, line.Return)
		}
	}
	for _, row := range resolver.sorted {
		row.earliest = end.Return
		for _, cause := range row.causes {
			row.earliest = min(row.earliest, cause.Call)
		}
		if row.earliest > row.latest {
			row.isPhantom, row.earliest = true, row.latest // named before anybody asked for it
		}
		row.isReturned = row.isGivenUp()
		row.giveUpCall, row.giveUpReturn = end.Call, end.Return
		if row.Status == "expired" {
			row.giveUpCall, row.isAsked = row.earliest, true
		}
	}
	for nth := range resolver.campaign.Cancels {
		line := &resolver.campaign.Cancels[nth]
		row := resolver.rows[line.ID]
		if row == nil || line.Outcome != done && line.Outcome != unknown {
			continue
		}
		row.isAsked = true
		row.giveUpCall = min(row.giveUpCall, line.Call)
		if line.Outcome == done {
			row.isReturned = true
			row.giveUpReturn = min(row.giveUpReturn, line.Return)
			row.latest = min(row.latest, line.Return)
		}
	}
}
