"""Result codes of calls: an append-only table (DESIGN section 7, CHAIN 5.10).

The number is consensus, since it is in `results_root`; the name is the one the field's tools know; the text is neither.
A number is never reused and never changes its meaning.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ...types import YumadError


class ErrorCode(IntEnum):
    """Why a call failed. 0 is success and not in the table."""

    # Balances
    InsufficientBalance = 1
    ExistentialDeposit = 2
    Expendability = 3
    Overflow = 4
    # Authorities
    AuthorityKeyInUse = 16
    BadProofOfPossession = 17
    NotAnAuthority = 18
    HeartbeatTooSoon = 19
    AuthorityBonded = 20
    NotEnoughRootStake = 21
    AuthorityKeyUnchanged = 22
    InvalidPeerId = 23
    # Neurons
    RegistrationNotPermittedOnRootSubnet = 32
    SubnetNotExists = 33
    SubNetRegistrationDisabled = 34
    HotKeyAlreadyRegisteredInSubNet = 35
    NotEnoughBalanceToStake = 36
    NonAssociatedColdKey = 37
    NoNeuronIdAvailable = 38
    RegistrationPriceLimitExceeded = 39
    # Weights
    InputLengthsUnequal = 48
    CommitRevealEnabled = 49
    CanNotSetRootNetworkWeights = 50
    WeightVecNotEqualSize = 51
    MechanismDoesNotExist = 52
    UidsLengthExceedUidsInSubNet = 53
    HotKeyNotRegisteredInSubNet = 54
    NotEnoughStakeToSetWeights = 55
    IncorrectWeightVersionKey = 56
    SettingWeightsTooFast = 57
    NeuronNoValidatorPermit = 58
    DuplicateUids = 59
    UidVecContainInvalidOne = 60
    WeightVecLengthIsLow = 61
    MaxWeightExceeded = 62
    # Stake and keys
    AmountTooLow = 80
    HotKeyAccountNotExists = 81
    InsufficientLiquidity = 82
    # Administration
    BadOrigin = 96
    AdminNonceMismatch = 97
    AdminCallExpired = 98
    AdminCallUnknown = 99
    AdminArgumentsMalformed = 100
    ValueNotInBounds = 101
    AlphaHighTooLow = 102
    AlphaLowOutOfRange = 103
    LiquidAlphaDisabled = 104
    AdminActionProhibitedDuringWeightsWindow = 105
    TempoOutOfBounds = 106
    RevealPeriodTooSmall = 107
    RevealPeriodTooLarge = 108
    FaucetDisabled = 112
    FaucetLimitReached = 113
    # Pools
    SwapInputTooLarge = 120
    ReservesTooLow = 121
    PriceLimitExceeded = 122
    ReservesOutOfBalance = 123
    # Staking
    SubtokenDisabled = 128
    NotEnoughStakeToWithdraw = 129
    SlippageTooHigh = 130
    StakeUnavailable = 131
    SameNetuid = 132
    TransferDisallowed = 133
    CannotBurnOrRecycleOnRootSubnet = 134
    SameAutoStakeHotkeyAlreadySet = 135
    # Child keys, takes and locks
    TxRateLimitExceeded = 160
    DuplicateChild = 161
    InvalidChild = 162
    TooManyChildren = 163
    ProportionOverflow = 164
    ChildParentInconsistency = 165
    NotEnoughStakeToSetChildkeys = 166
    InvalidChildkeyTake = 167
    TxChildkeyTakeRateLimitExceeded = 168
    DelegateTakeTooLow = 169
    DelegateTakeTooHigh = 170
    DelegateTxRateLimitExceeded = 171
    LockHotkeyMismatch = 172
    InsufficientStakeForLock = 173
    NoExistingLock = 174
    AccountRejectsLockedAlpha = 175
    TooManyLockedPositions = 176
    # Subnets
    NetworkTxRateLimitExceeded = 192
    SubnetLimitReached = 193
    CannotAffordLockCost = 194
    CannotUseSystemAccount = 195
    InvalidIdentity = 196
    FirstEmissionBlockNumberAlreadySet = 197
    NeedWaitingMoreBlocksToStarCall = 198
    DynamicTempoBlockedByCommitReveal = 199
    EpochTriggerAlreadyPending = 200
    AutoEpochAlreadyImminent = 201
    NotSubnetOwner = 202
    SymbolDoesNotExist = 203
    SymbolAlreadyInUse = 204
    TooManyRegistrationsThisBlock = 205
    TooManyRegistrationsThisInterval = 206
    StakeTooLowForRoot = 207
    FeeRateTooHigh = 208
    TrimmingWouldExceedMaxImmunePercentage = 209
    # Commit and reveal
    CommitRevealDisabled = 224
    CommittingWeightsTooFast = 225
    TooManyUnrevealedCommits = 226
    NoWeightsCommitFound = 227
    ExpiredWeightCommit = 228
    InvalidRevealCommitHashNotMatch = 229
    RevealTooEarly = 230
    IncorrectCommitRevealVersion = 231
    InvalidRevealRound = 232
    TimelockedWeightsDisabled = 233
    # Keys, serving and identity
    HotKeyNotRegisteredInNetwork = 240
    ServingRateLimitExceeded = 241
    AccountNotAllowedCommit = 242
    TooManyFieldsInCommitmentInfo = 243
    SpaceLimitExceeded = 244
    HotKeySetTxRateLimitExceeded = 245
    NewHotKeyNotCleanForRootSwap = 246
    HotKeySwapOnSubnetIntervalNotPassed = 247
    ColdkeySwapAnnounced = 248
    ColdkeySwapDisputed = 249
    ColdKeyAlreadyAssociated = 250
    NewHotKeyIsSameWithOld = 251
    NotEnoughBalanceToPaySwapHotKey = 252
    ColdkeySwapTooEarly = 253
    AnnouncedColdkeyHashDoesNotMatch = 254
    ColdkeySwapAnnouncementNotFound = 255
    ColdkeySwapReannouncedTooEarly = 256
    NewColdKeyIsHotkey = 257
    ActiveLockExists = 258
    NotEnoughBalanceToPaySwapColdKey = 259
    HotkeyIsAuthority = 260
    CommitmentFieldMalformed = 261
    ColdkeySwapClearTooEarly = 262
    # Root
    InvalidSubnetNumber = 288
    InvalidRootClaimThreshold = 289


TEXTS: Final[dict[ErrorCode, str]] = {
    ErrorCode.InsufficientBalance: "the free balance does not cover the amount",
    ErrorCode.ExistentialDeposit: "the receiver would hold less than the existential deposit",
    ErrorCode.Expendability: "the sender would fall below the existential deposit; transfer_allow_death empties it",
    ErrorCode.Overflow: "the amount does not fit 64 bits together with what is there",
    ErrorCode.AuthorityKeyInUse: "another hotkey registered this authority key",
    ErrorCode.BadProofOfPossession: "the authority key did not sign this hotkey for this network",
    ErrorCode.NotAnAuthority: "the hotkey has no registered authority key",
    ErrorCode.HeartbeatTooSoon: "the hotkey's newest heartbeat is less than an eighth of an era old",
    ErrorCode.AuthorityBonded: "the root stake is bonded until the authority can no longer be punished",
    ErrorCode.NotEnoughRootStake: "the hotkey's root stake is below the minimum authority weight",
    ErrorCode.AuthorityKeyUnchanged: "the hotkey registered this very authority key before",
    ErrorCode.InvalidPeerId: "that is no peer id: it is empty, too long, or not made of a public key",
    ErrorCode.RegistrationNotPermittedOnRootSubnet: "neurons do not register on the root subnet this way",
    ErrorCode.SubnetNotExists: "there is no subnet of this number",
    ErrorCode.SubNetRegistrationDisabled: "the subnet does not take registrations now",
    ErrorCode.HotKeyAlreadyRegisteredInSubNet: "the hotkey has a uid in this subnet already",
    ErrorCode.NotEnoughBalanceToStake: "the free balance does not cover the amount and the existential deposit",
    ErrorCode.NonAssociatedColdKey: "the hotkey belongs to another coldkey",
    ErrorCode.NoNeuronIdAvailable: "the subnet is full and no neuron in it may be replaced",
    ErrorCode.RegistrationPriceLimitExceeded: "the registration price is above the given limit",
    ErrorCode.InputLengthsUnequal: "the lists differ in length",
    ErrorCode.CommitRevealEnabled: "the subnet takes weights by commit and reveal only",
    ErrorCode.CanNotSetRootNetworkWeights: "the root subnet has no weights",
    ErrorCode.WeightVecNotEqualSize: "uids and values differ in length",
    ErrorCode.MechanismDoesNotExist: "the subnet or the mechanism does not exist",
    ErrorCode.UidsLengthExceedUidsInSubNet: "more uids than the subnet has",
    ErrorCode.HotKeyNotRegisteredInSubNet: "the hotkey has no uid in this subnet",
    ErrorCode.NotEnoughStakeToSetWeights: "the hotkey's stake weight is below the threshold for setting weights",
    ErrorCode.IncorrectWeightVersionKey: "the version key is older than the subnet demands",
    ErrorCode.SettingWeightsTooFast: "the rate limit since the last update has not passed",
    ErrorCode.NeuronNoValidatorPermit: "the neuron has no validator permit",
    ErrorCode.DuplicateUids: "a uid occurs twice",
    ErrorCode.UidVecContainInvalidOne: "a uid is not occupied",
    ErrorCode.WeightVecLengthIsLow: "fewer weights than the subnet demands",
    ErrorCode.MaxWeightExceeded: "a weight exceeds the subnet's limit",
    ErrorCode.AmountTooLow: "the amount is below the minimum",
    ErrorCode.HotKeyAccountNotExists: "the hotkey is not known; register it or associate it with a coldkey first",
    ErrorCode.InsufficientLiquidity: "the subnet's pool cannot fill the order",
    ErrorCode.BadOrigin: "the signer does not own the subnet, or too few valid signatures of the admin keys",
    ErrorCode.AdminNonceMismatch: "the admin nonce is not the next one",
    ErrorCode.AdminCallExpired: "the administrative order is past its last height",
    ErrorCode.AdminCallUnknown: "the call is not an administrative one",
    ErrorCode.AdminArgumentsMalformed: "the arguments do not have the form the administrative call needs",
    ErrorCode.ValueNotInBounds: "the value is outside the parameter's bounds",
    ErrorCode.AlphaHighTooLow: "alpha high is below 1638",
    ErrorCode.AlphaLowOutOfRange: "alpha low is below 1638 or above alpha high",
    ErrorCode.LiquidAlphaDisabled: "liquid alpha is off in this subnet",
    ErrorCode.AdminActionProhibitedDuringWeightsWindow: "the subnet's epoch is too near",
    ErrorCode.TempoOutOfBounds: "the tempo is outside its bounds",
    ErrorCode.RevealPeriodTooSmall: "the reveal period is below one epoch",
    ErrorCode.RevealPeriodTooLarge: "the reveal period is above a hundred epochs",
    ErrorCode.FaucetDisabled: "this network has no faucet",
    ErrorCode.SwapInputTooLarge: "the order is more than a thousand times the pool's reserve",
    ErrorCode.ReservesTooLow: "the pool has too little to give, or the amount buys nothing",
    ErrorCode.PriceLimitExceeded: "the price is not better than the limit",
    ErrorCode.ReservesOutOfBalance: "no weight of the pool gives that price",
    ErrorCode.FaucetLimitReached: "the account holds as much as the faucet gives, or the supply is used up",
    ErrorCode.SubtokenDisabled: "stake of this subnet cannot be bought or sold yet: its owner has not started it",
    ErrorCode.NotEnoughStakeToWithdraw: "the position holds less than that",
    ErrorCode.SlippageTooHigh: "the price limit lets only a part of the order through; allow_partial takes that part",
    ErrorCode.StakeUnavailable: "part of the stake is locked and cannot leave",
    ErrorCode.SameNetuid: "the stake would go where it is",
    ErrorCode.TransferDisallowed: "the subnet does not allow stake to change its coldkey",
    ErrorCode.CannotBurnOrRecycleOnRootSubnet: "root stake is TAO and cannot be burned this way",
    ErrorCode.SameAutoStakeHotkeyAlreadySet: "the hotkey is the destination already",
    ErrorCode.TxRateLimitExceeded: "the same was changed too short a time ago",
    ErrorCode.DuplicateChild: "a child occurs twice",
    ErrorCode.InvalidChild: "a hotkey cannot be its own child",
    ErrorCode.TooManyChildren: "more than five children",
    ErrorCode.ProportionOverflow: "the proportions add up to more than everything",
    ErrorCode.ChildParentInconsistency: "a child is a parent of the hotkey",
    ErrorCode.NotEnoughStakeToSetChildkeys: "the hotkey's stake is worth less than the threshold",
    ErrorCode.InvalidChildkeyTake: "the child-key take is outside its bounds",
    ErrorCode.TxChildkeyTakeRateLimitExceeded: "the child-key take was changed too short a time ago to raise it",
    ErrorCode.DelegateTakeTooLow: "the take is below its minimum, or not on the right side of the present one",
    ErrorCode.DelegateTakeTooHigh: "the take is above its maximum",
    ErrorCode.DelegateTxRateLimitExceeded: "the take was changed too short a time ago to raise it",
    ErrorCode.TooManyLockedPositions: "a coldkey with a lock stakes on at most 256 hotkeys of a subnet; gather some",
    ErrorCode.LockHotkeyMismatch: "the lock is bound to another hotkey; move it first",
    ErrorCode.InsufficientStakeForLock: "the coldkey's stake on the subnet does not cover the lock",
    ErrorCode.NoExistingLock: "the coldkey has no lock on the subnet",
    ErrorCode.AccountRejectsLockedAlpha: "the receiver does not accept locked stake",
    ErrorCode.NetworkTxRateLimitExceeded: "the last subnet was registered too short a time ago",
    ErrorCode.SubnetLimitReached: "there are as many subnets as there may be and none can be replaced",
    ErrorCode.CannotAffordLockCost: "the free balance does not cover the cost of a subnet",
    ErrorCode.CannotUseSystemAccount: "the hotkey is the address of a subnet's own account",
    ErrorCode.InvalidIdentity: "a field of the identity is too long",
    ErrorCode.FirstEmissionBlockNumberAlreadySet: "the subnet was started before",
    ErrorCode.NeedWaitingMoreBlocksToStarCall: "the subnet is too young to be started",
    ErrorCode.DynamicTempoBlockedByCommitReveal: "an epoch cannot be triggered while commit-reveal is on",
    ErrorCode.EpochTriggerAlreadyPending: "an epoch was triggered already",
    ErrorCode.AutoEpochAlreadyImminent: "the next epoch comes as soon by itself",
    ErrorCode.NotSubnetOwner: "the signer does not own the subnet",
    ErrorCode.SymbolDoesNotExist: "the symbol is not in the list",
    ErrorCode.SymbolAlreadyInUse: "another subnet uses the symbol",
    ErrorCode.TooManyRegistrationsThisBlock: "root took as many registrations in this block as it may",
    ErrorCode.TooManyRegistrationsThisInterval: "root took as many registrations in this interval as it may",
    ErrorCode.StakeTooLowForRoot: "root is full and nobody on it has less root stake",
    ErrorCode.FeeRateTooHigh: "the swap fee is above 10000 of 65535",
    ErrorCode.TrimmingWouldExceedMaxImmunePercentage: "too many of the remaining neurons would be protected",
    ErrorCode.CommitRevealDisabled: "the subnet takes weights directly",
    ErrorCode.CommittingWeightsTooFast: "the rate limit since the last commit has not passed",
    ErrorCode.TooManyUnrevealedCommits: "ten commits wait for their reveal",
    ErrorCode.NoWeightsCommitFound: "there is no such commit",
    ErrorCode.ExpiredWeightCommit: "the commit's reveal window is over",
    ErrorCode.InvalidRevealCommitHashNotMatch: "what is revealed was not committed",
    ErrorCode.RevealTooEarly: "the commit is revealed in another epoch",
    ErrorCode.IncorrectCommitRevealVersion: "the version of timelocked commits is another one",
    ErrorCode.InvalidRevealRound: "the round is past already",
    ErrorCode.TimelockedWeightsDisabled: "this network does not take timelocked commits",
    ErrorCode.HotKeyNotRegisteredInNetwork: "the hotkey has no uid there",
    ErrorCode.ServingRateLimitExceeded: "the rate limit since the last serve call has not passed",
    ErrorCode.AccountNotAllowedCommit: "only hotkeys with a uid may publish on the subnet",
    ErrorCode.TooManyFieldsInCommitmentInfo: "more than three fields",
    ErrorCode.SpaceLimitExceeded: "the account has published as much in this epoch as it may",
    ErrorCode.HotKeySetTxRateLimitExceeded: "the coldkey swapped a hotkey too short a time ago",
    ErrorCode.NewHotKeyNotCleanForRootSwap: "the new hotkey has root stake or root dividends already",
    ErrorCode.HotKeySwapOnSubnetIntervalNotPassed: "the coldkey swapped a hotkey on the subnet too short a time ago",
    ErrorCode.ColdkeySwapAnnounced: "a coldkey swap is announced: only calls about it are taken",
    ErrorCode.ColdkeySwapDisputed: "the announced coldkey swap is disputed: governance has to decide",
    ErrorCode.ColdKeyAlreadyAssociated: "the new coldkey holds stake already",
    ErrorCode.NewHotKeyIsSameWithOld: "the new hotkey is the old one",
    ErrorCode.NotEnoughBalanceToPaySwapHotKey: "the free balance does not cover the cost of a hotkey swap",
    ErrorCode.ColdkeySwapTooEarly: "the announced coldkey swap has to wait longer",
    ErrorCode.AnnouncedColdkeyHashDoesNotMatch: "another coldkey was announced",
    ErrorCode.ColdkeySwapAnnouncementNotFound: "no coldkey swap is announced",
    ErrorCode.ColdkeySwapReannouncedTooEarly: "the announcement cannot be replaced yet",
    ErrorCode.ColdkeySwapClearTooEarly: "the announcement cannot be taken back yet",
    ErrorCode.NewColdKeyIsHotkey: "the new coldkey is known as a hotkey",
    ErrorCode.ActiveLockExists: "the new coldkey has locked stake",
    ErrorCode.NotEnoughBalanceToPaySwapColdKey: "the free balance does not cover the cost of the announcement",
    ErrorCode.CommitmentFieldMalformed: "a field has an unknown kind or the wrong length",
    ErrorCode.HotkeyIsAuthority: "the hotkey votes or is bonded as an authority and keeps its name",
    ErrorCode.InvalidSubnetNumber: "name one to five subnets",
    ErrorCode.InvalidRootClaimThreshold: "the threshold is above 10000000",
}
"""One line for the person reading; never committed."""


class CallError(YumadError):
    """A call fails with a code of the table: it leaves no effect but nonce and fee."""

    code = "call_failed"

    def __init__(self, number: ErrorCode) -> None:
        super().__init__(f"{number.name}: {TEXTS[number]}")
        self.number = number


def error_name(number: int) -> str:
    """Name of a result code, `ok` for 0, `Error<n>` for one this version does not know."""
    if number == 0:
        return "ok"
    try:
        return ErrorCode(number).name
    except ValueError:
        return f"Error{number}"


def error_text(number: int) -> str:
    """The text for a result code; empty for 0 and for unknown ones."""
    try:
        return TEXTS[ErrorCode(number)]
    except ValueError:
        return ""
