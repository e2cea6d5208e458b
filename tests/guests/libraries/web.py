from fastapi import FastAPI
from mangum import Mangum
from pydantic import BaseModel

app = FastAPI()


class Order(BaseModel):
    amount: int


@app.get("/orders/{number}")
def read(number: int, details: bool = False):
    return {"number": number, "details": details}


@app.post("/orders", status_code=201)
async def make(order: Order):
    return {"amount": order.amount}


handler = Mangum(app, lifespan="off")
