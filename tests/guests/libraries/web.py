from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
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


@app.get("/page/{name}", response_class=HTMLResponse)
def page(name: str):
    return f"<h1>Hello, {name}</h1>"


@app.get("/login")
def login(response: Response):
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return "in"


@app.get("/bytes")
def some_bytes():
    return Response(bytes(range(256)), media_type="application/octet-stream")


handler = Mangum(app, lifespan="off")
