"""Control: webhook intake as a good developer would write it with FastAPI, SQLAlchemy (asyncpg) and Stripe's SDK.

One transaction per webhook: inbox row with ON CONFLICT DO NOTHING, order loaded FOR UPDATE, merged, saved, a timeline
row, commit, then 200. Pooled connections, JSON columns, no needless query.
"""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import stripe
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from sqlalchemy import BigInteger, DateTime, LargeBinary, Text, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.controls.facts import learn, state_of

MERCHANT = os.environ["BENCHMARK_MERCHANT"]
SECRET = os.environ["BENCHMARK_WEBHOOK_SECRET"]

engine = create_async_engine(
    os.environ["BENCHMARK_SQLALCHEMY_DSN"], pool_size=int(os.environ["BENCHMARK_POOL"]), max_overflow=0
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {
        dict[str, Any]: JSONB,
        str: Text,
        int: BigInteger,
        datetime: DateTime(timezone=True),
    }


class Order(Base):
    __tablename__ = "orders"
    merchant_id: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[int]
    currency: Mapped[str]
    state: Mapped[str]
    facts: Mapped[dict[str, Any]]
    amount_captured: Mapped[int]
    version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Timeline(Base):
    __tablename__ = "timeline"
    merchant_id: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    source: Mapped[str]
    fact: Mapped[dict[str, Any]]
    state_before: Mapped[str]
    state_after: Mapped[str]
    reference: Mapped[str | None]


class Inbox(Base):
    __tablename__ = "inbox"
    merchant_id: Mapped[str] = mapped_column(primary_key=True)
    connection_id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    order_id: Mapped[str | None]
    state: Mapped[str]
    received_at: Mapped[datetime]
    raw: Mapped[bytes] = mapped_column(LargeBinary)


async def database_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


@app.post("/webhooks/{connection_id}")
async def webhook(
    connection_id: str, request: Request, session: Annotated[AsyncSession, Depends(database_session)]
) -> Response:
    payload = await request.body()
    try:
        event = stripe.Webhook.construct_event(payload, request.headers.get("stripe-signature"), SECRET)
    except (ValueError, stripe.SignatureVerificationError):
        raise HTTPException(400) from None
    now = datetime.now(UTC)
    order_id = event["data"]["object"]["client_reference_id"]
    async with session.begin():
        received = await session.scalar(
            insert(Inbox)
            .values(
                merchant_id=MERCHANT,
                connection_id=connection_id,
                event_id=event["id"],
                type=event["type"],
                order_id=order_id,
                state="applied",
                received_at=now,
                raw=payload,
            )
            .on_conflict_do_nothing()
            .returning(Inbox.event_id)
        )
        if received is None:
            return Response()
        order = await session.scalar(
            select(Order).where(Order.merchant_id == MERCHANT, Order.order_id == order_id).with_for_update()
        )
        if order is None:
            inbox = await session.get_one(Inbox, (MERCHANT, connection_id, event["id"]))
            inbox.state = "parked"
            return Response()
        before = order.state
        facts, fact = learn(order.facts, event.to_dict())
        order.facts = facts
        order.state = state_of(facts, order.amount, order.currency)
        order.amount_captured = order.amount if order.state == "PAID" else 0
        order.version += 1
        order.updated_at = now
        session.add(
            Timeline(
                merchant_id=MERCHANT,
                order_id=order_id,
                number=order.version,
                at=now,
                source="webhook",
                fact=fact,
                state_before=before,
                state_after=order.state,
                reference=event["id"],
            )
        )
    return Response()
