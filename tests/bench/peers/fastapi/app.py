"""What people write by hand in Python: validate, insert, call with the stamp, update, answer.

It takes the gateway's request and gives an answer of its shape. It leaves out what makes a gateway: keys, duplicates, retries,
look-ups, other providers.
"""

import base64
import json
import os
import time
import uuid
from contextlib import asynccontextmanager

import aiohttp
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, EmailStr, Field
from sqlalchemy import Column, MetaData, String, Table, event, insert, select, update, bindparam
from sqlalchemy.ext.asyncio import create_async_engine

UPSTREAM = os.environ["BENCH_UPSTREAM"]
ORGANIZATION = os.environ["BENCH_ORGANIZATION"]
SENDER = os.environ["BENCH_SENDER"]

key = ec.derive_private_key(int(os.environ["BENCH_KEY"], 16), ec.SECP256R1())
public_key = key.public_key().public_bytes(
    serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
).hex()

invites = Table(
    "invites",
    MetaData(),
    Column("id", String, primary_key=True),
    Column("batch_id", String, nullable=False),
    Column("email", String, nullable=False),
    Column("first_name", String),
    Column("last_name", String),
    Column("provider", String, nullable=False),
    Column("status", String, nullable=False),
    Column("provider_ref", String),
    Column("created_at", String, nullable=False),
)

# One connection: SQLite has one writer, and waiting for it here costs less than being refused by it.
engine = create_async_engine(
    f"sqlite+aiosqlite:///{os.environ['BENCH_DATABASE']}", pool_size=1, max_overflow=0
)


@event.listens_for(engine.sync_engine, "connect")
def make_durable(connection, _):
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


class Invite(BaseModel):
    model_config = ConfigDict(extra="forbid")
    email: EmailStr
    first_name: str | None = Field(default=None, max_length=200)
    last_name: str | None = Field(default=None, max_length=200)


class Batch(BaseModel):
    model_config = ConfigDict(extra="forbid")
    to: str
    invites: list[Invite] = Field(min_length=1, max_length=1000)


def stamp(body: bytes) -> str:
    signature = key.sign(body, ec.ECDSA(hashes.SHA256())).hex()
    text = json.dumps(
        {"publicKey": public_key, "signature": signature, "scheme": "SIGNATURE_SCHEME_TK_API_P256"}
    )
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


async def create_invitations(asked: list[Invite]) -> list[str]:
    body = json.dumps({
        "type": "ACTIVITY_TYPE_CREATE_INVITATIONS",
        "timestampMs": str(time.time_ns() // 1_000_000),
        "organizationId": ORGANIZATION,
        "parameters": {
            "invitations": [
                {
                    "receiverUserName": " ".join(filter(None, [one.first_name, one.last_name])),
                    "receiverUserEmail": one.email,
                    "receiverUserTags": [],
                    "accessType": "ACCESS_TYPE_WEB",
                    "senderUserId": SENDER,
                }
                for one in asked
            ]
        },
    }).encode()
    headers = {"X-Stamp": stamp(body), "Content-Type": "application/json"}
    url = f"{UPSTREAM}/public/v1/submit/create_invitations"
    async with app.state.client.post(url, data=body, headers=headers) as response:
        response.raise_for_status()
        activity = (await response.json())["activity"]
    ids = activity["result"]["createInvitationsResult"]["invitationIds"]
    if activity["status"] != "ACTIVITY_STATUS_COMPLETED" or len(ids) != len(asked):
        raise HTTPException(502, "the activity did not complete")
    return ids


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with engine.begin() as connection:
        await connection.run_sync(invites.metadata.create_all)
    async with aiohttp.ClientSession() as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/invites", status_code=201)
async def create_invites(batch: Batch) -> JSONResponse:
    batch_id = f"bat_{uuid.uuid4().hex}"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    rows = [
        {
            "id": f"inv_{uuid.uuid4().hex}",
            "batch_id": batch_id,
            "email": one.email,
            "first_name": one.first_name,
            "last_name": one.last_name,
            "provider": batch.to,
            "status": "sending",
            "provider_ref": None,
            "created_at": now,
        }
        for one in batch.invites
    ]
    async with engine.begin() as connection:
        await connection.execute(insert(invites), rows)
    ids = await create_invitations(batch.invites)
    sent = [{"of": row["id"], "ref": ref} for row, ref in zip(rows, ids)]
    record = update(invites).where(invites.c.id == bindparam("of"))
    async with engine.begin() as connection:
        await connection.execute(record.values(status="pending", provider_ref=bindparam("ref")), sent)
    for row, ref in zip(rows, ids):
        row.update(status="pending", provider_ref=ref)
    body = {"batch": {"id": batch_id, "created_at": now}, "invites": rows}
    return JSONResponse(body, status_code=201)


@app.get("/v1/invites/{id}")
async def get_invite(id: str) -> JSONResponse:
    async with engine.connect() as connection:
        row = (await connection.execute(select(invites).where(invites.c.id == id))).mappings().first()
    if row is None:
        raise HTTPException(404)
    return JSONResponse(dict(row))
