package main

import "math/rand"

func oversell(campaign *Campaign, _ *rand.Rand) bool {
	all, _ := campaign.standing()
	if campaign.Stock == nil || all == 0 {
		return false
	}
	all--
	campaign.Stock, campaign.Stocks = &all, nil
	campaign.forget()
	return true
}

// sellBeyond turns a refusal into a participation: a unit beyond the stock, in the order of arrival, to a user who may
// have it.
func sellBeyond(campaign *Campaign, random *rand.Rand) bool {
	held := map[int64]int64{}
	for _, row := range campaign.Listed {
		held[row.User] += row.Quantity
	}
	line := pick(campaign.Requests, random, func(line *Line) bool {
		return line.Outcome == soldOut && line.Key == "" && held[line.User]+line.Quantity <= campaign.Limit
	})
	all, _ := campaign.standing()
	if line == nil || campaign.Stock == nil || all != *campaign.Stock {
		return false
	}
	campaign.forget()
	line.Outcome, line.ID, line.Rank = accepted, "beyond", campaign.lastRank()+1
	// Its response comes after all others, so that its rank is right.
	line.Return = campaign.End.Call
	row := *line
	row.Op, row.Status = "row", "confirmed"
	campaign.Listed = append(campaign.Listed, row)
	return true
}

func overstep(campaign *Campaign, _ *rand.Rand) bool {
	_, most := campaign.standing()
	campaign.Limit = most - 1
	return most > 1
}

func lose(campaign *Campaign, random *rand.Rand) bool {
	line := pick(campaign.Requests, random, isAccepted)
	if line == nil {
		return false
	}
	for nth := range campaign.Listed {
		if campaign.Listed[nth].ID == line.ID {
			campaign.Listed = append(campaign.Listed[:nth], campaign.Listed[nth+1:]...)
			break
		}
	}
	return true
}

// invent adds a row at the end, and raises the stock so that there is room.
func invent(campaign *Campaign, _ *rand.Rand) bool {
	campaign.forget()
	campaign.Listed = append(campaign.Listed, Line{
		User: -1, Quantity: 1, Rank: campaign.lastRank() + 1, ID: "invented", Status: "confirmed",
	})
	campaign.roomForOne()
	return true
}

// roomForOne raises the stock by a unit, and removes the refusals that are wrong then.
func (campaign *Campaign) roomForOne() {
	if campaign.Stock != nil {
		more := *campaign.Stock + 1
		campaign.Stock, campaign.Stocks = &more, nil
	}
	for nth := range campaign.Requests {
		if campaign.Requests[nth].Outcome == soldOut {
			campaign.Requests[nth].Outcome = nothing
		}
	}
}

func (campaign *Campaign) lastRank() (rank int64) {
	for _, row := range campaign.Listed {
		rank = max(rank, row.Rank)
	}
	return rank
}

func changeRank(campaign *Campaign, random *rand.Rand) bool {
	line := pick(campaign.Requests, random, isAccepted)
	if line == nil {
		return false
	}
	line.Rank++
	return true
}

// swapRanks exchanges the ranks of two participations, of which one was accepted before the other one was requested.
func swapRanks(campaign *Campaign, random *rand.Rand) bool {
	campaign.forget()
	first := pick(campaign.Requests, random, isAccepted)
	if first == nil {
		return false
	}
	calls := map[string]int64{} // of the first request that can have caused it, by user
	for _, line := range campaign.Requests {
		if call, isKnown := calls[line.ID]; isAccepted(&line) && (!isKnown || line.Call < call) {
			calls[line.ID] = line.Call
		}
	}
	isLost := map[int64]bool{}
	for _, line := range campaign.Requests {
		isLost[line.User] = isLost[line.User] || line.Outcome == unknown
	}
	second := pick(campaign.Requests, random, func(line *Line) bool {
		return isAccepted(line) && line.ID != first.ID && calls[line.ID] > first.Return && !isLost[line.User]
	})
	if second == nil {
		return false
	}
	swapped := map[string]int64{first.ID: second.Rank, second.ID: first.Rank}
	for _, lines := range [][]Line{campaign.Requests, campaign.Listed} {
		for nth := range lines {
			if rank, is := swapped[lines[nth].ID]; is && (lines[nth].Op == "row" || isAccepted(&lines[nth])) {
				lines[nth].Rank = rank
			}
		}
	}
	return true
}

// after returns a copy of a request, asked again just before the last reading.
func (campaign *Campaign) after(line *Line) Line {
	again := *line
	again.Call, again.Return = campaign.End.Call, campaign.End.Call
	return again
}

func sellTwice(campaign *Campaign, random *rand.Rand) bool {
	line := pick(campaign.Requests, random, isAcceptedKey)
	if line == nil || campaign.Limit == 1 {
		return false // with a limit of one, other responses would be wrong, too
	}
	campaign.forget()
	again := campaign.after(line)
	again.ID, again.Rank = "again", campaign.lastRank()+1
	row := again
	row.Op, row.Status = "row", "confirmed"
	// Room for both, so that only the key forbids it.
	campaign.Limit += line.Quantity
	for range line.Quantity {
		campaign.roomForOne()
	}
	for nth := range campaign.Requests {
		if campaign.Requests[nth].Outcome == limited {
			campaign.Requests[nth].Outcome = nothing
		}
	}
	campaign.Requests, campaign.Listed = append(campaign.Requests, again), append(campaign.Listed, row)
	return true
}

func answerDifferently(campaign *Campaign, random *rand.Rand) bool {
	line := pick(campaign.Requests, random, isAcceptedKey)
	if line == nil {
		return false
	}
	again := campaign.after(line)
	again.Quantity++
	campaign.Requests = append(campaign.Requests, again)
	return true
}

func refuseKey(campaign *Campaign, random *rand.Rand) bool {
	line := pick(campaign.Requests, random, isAcceptedKey)
	if line == nil {
		return false
	}
	again := campaign.after(line)
	again.Outcome, again.ID = limited, ""
	again.Quantity = campaign.Max + 1 // a refusal that would be right without the key
	campaign.Requests = append(campaign.Requests, again)
	return true
}

func sellOutEarly(campaign *Campaign, _ *rand.Rand) bool {
	if campaign.Stock == nil || *campaign.Stock < 1 || len(campaign.Requests) == 0 {
		return false
	}
	first := campaign.Requests[0].Call
	for _, line := range campaign.Requests {
		first = min(first, line.Call)
	}
	campaign.Requests = append(campaign.Requests, Line{
		Op: "participate", User: -1, Quantity: 1, Call: first - 2, Return: first - 1, Outcome: soldOut,
	})
	return true
}

// sellOutLate adds a refusal that was right before units were returned, and is stale now.
func sellOutLate(campaign *Campaign, _ *rand.Rand) bool {
	all, _ := campaign.standing()
	isReturned := false
	for _, line := range campaign.Cancels {
		isReturned = isReturned || line.Outcome == done
	}
	if campaign.Stock == nil || all >= *campaign.Stock || !isReturned {
		return false
	}
	// When nothing is held any more.
	late := campaign.End.Call + campaign.Hold + campaign.Lag + 2
	for _, line := range campaign.Requests {
		late = max(late, line.Return+campaign.Hold+campaign.Lag+2)
	}
	for _, line := range campaign.Cancels {
		late = max(late, line.Return+campaign.Lag+2)
	}
	for _, time := range campaign.Unsettled {
		late = max(late, time[1]+2)
	}
	campaign.End.Call, campaign.End.Return = late+2, late+3
	campaign.Requests = append(campaign.Requests, Line{
		Op: "participate", User: -1, Quantity: 1, Call: late, Return: late + 1, Outcome: soldOut,
	})
	return true
}

func nameAnother(campaign *Campaign, random *rand.Rand) bool {
	line := pick(campaign.Requests, random, func(line *Line) bool { return line.Outcome == already })
	if line == nil {
		return false
	}
	another := pick(campaign.Listed, random, func(row *Line) bool { return row.User != line.User })
	if another == nil {
		return false
	}
	line.ID = another.ID
	return true
}

func loseCancel(campaign *Campaign, random *rand.Rand) bool {
	line := pick(campaign.Cancels, random, func(line *Line) bool { return line.Outcome == done })
	if line == nil {
		return false
	}
	campaign.row(line.ID).Status = "confirmed"
	return true
}

func inventCancel(campaign *Campaign, random *rand.Rand) bool {
	isAsked := map[string]bool{}
	for _, line := range campaign.Cancels {
		isAsked[line.ID] = true
	}
	row := pick(campaign.Listed, random, func(row *Line) bool { return isStanding(row) && !isAsked[row.ID] })
	if row == nil {
		return false
	}
	row.Status = "cancelled"
	return true
}

func misread(campaign *Campaign, _ *rand.Rand) bool {
	if campaign.Stock == nil {
		return false
	}
	all, _ := campaign.standing()
	campaign.Stocks = append(campaign.Stocks, Line{
		Op: "stock", Call: campaign.End.Return + campaign.Age + 1, Return: campaign.End.Return + campaign.Age + 1,
		Units: *campaign.Stock - all + 1,
	})
	return true
}
